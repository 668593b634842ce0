"""Between voxelisation and the networks: what a sparse-convolution library has to offer, not how.

Letters: V voxels (rows) of a level, C channels, I input channels, O output channels, K cells of a kernel.

The layers own the parameters, in one layout (`kernels.py`); a backend only does arithmetic, so a network is
written once and its weights move between libraries. A backend may number rows in an order of its own: those
of one level agree with one another, and `Backend.features` gives the caller's order back at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from also_selfsup.transforms.pending import Steps

Triple = tuple[int, int, int]
Size = int | Triple


def triple(size: Size) -> Triple:
    """One number for all three axes, or three numbers for x, y, z."""
    return (size, size, size) if isinstance(size, int) else size


@dataclass(frozen=True)
class Geometry:
    """Which cells a convolution joins: its kind and its extent along x, y, z."""

    kind: Literal["submanifold", "downsample", "upsample"]
    size: Triple
    stride: Triple = (1, 1, 1)
    padding: Triple = (0, 0, 0)


class Voxels(Protocol):
    """Occupied cells of one level of a batch, with one feature row each.

    Attributes:
        feats: (V, C) floating point.
        coords: (V, 4) integer, `[batch, x, y, z]` in cells of this level; row i belongs to row i of `feats`.
        level: Number of down-samplings since the input; with stride 2 a cell is 2**level input voxels wide.
        backend: The library that made these voxels; layers ask it for the arithmetic.
        notes: What others derived from the cells, by a name of theirs; one dictionary for all voxels of
            a level of a batch.
    """

    @property
    def feats(self) -> Tensor:
        """(V, C) features."""

    @property
    def coords(self) -> Tensor:
        """(V, 4) cells `[batch, x, y, z]`."""

    @property
    def level(self) -> int:
        """Down-samplings since the input."""

    @property
    def backend(self) -> Backend:
        """The library that made these voxels."""

    @property
    def notes(self) -> dict[str, Any]:
        """What was derived from the cells of this level."""

    def with_feats(self, feats: Tensor) -> Voxels:
        """The same cells with other features, (V, any number of channels)."""


class Backend(Protocol):
    """The arithmetic of a sparse-convolution library.

    Kernels come as (K, I, O), or (I, O) when K = 1, with cells in the order of `kernels.kernel_offsets`.
    """

    name: str

    def voxels(self, feats: Tensor, coords: Tensor, *, grid: Triple | None = None) -> Voxels:
        """Voxels of level 0.

        Args:
            feats: (V, C) floating point.
            coords: (V, 4) integer `[batch, x, y, z]`, in any order, no two rows alike, negative ones allowed.
            grid: Cells along x, y, z if the space is bounded to [0, grid): strided convolutions then make no
                cell outside the reduced grid. None leaves it unbounded.

        Raises:
            ValueError: Shapes that do not fit, duplicate cells, or cells too far apart to be numbered.
        """

    def features(self, x: Voxels) -> Tensor:
        """(V, C) features of level-0 voxels in the row order of the `coords` that `voxels` was given."""

    def submanifold(self, x: Voxels, kernel: Tensor, size: Triple) -> Voxels:
        """Convolution whose output cells are its input cells."""

    def downsample(self, x: Voxels, kernel: Tensor, size: Triple, stride: Triple, padding: Triple) -> Voxels:
        """Strided convolution; a coarse cell exists where the kernel touches an input cell.

        Coarse cell o and kernel cell k (counted from 0) meet at input cell o * stride - padding + k. Coarse
        cells are ordered by batch, x, y, z (unless the backend numbers rows its own way).
        """

    def upsample(self, x: Voxels, kernel: Tensor, size: Triple) -> Voxels:
        """Inverse of the down-sampling that made `x`: back to its input's cells and row order.

        The same pairs of cells with sides swapped; kernel cell k of the one meets kernel cell k of the other.

        Raises:
            ValueError: `x` is on level 0, or `size` is not that of the down-sampling.
        """

    def unit(
        self,
        x: Voxels,
        kernel: Tensor,
        *,
        geometry: Geometry,
        norm: nn.Module | None = None,
        residual: Voxels | None = None,
        relu: bool = False,
    ) -> Voxels:
        """relu(norm(convolution(x)) + residual), each part optional: the step that a backend may fuse.

        Backends that fuse nothing answer `units.compose(self, …)`.
        """

    def record(self) -> None:
        """Prepare for one network that trains step after step; a backend may record its passes then."""
        return None

    def prepare(self, network: nn.Module, coords: Tensor, *, voxel_id: Tensor, halvings: int) -> Steps[Any]:
        """What can be known before a network of halvings runs, for `run` and `spread`; None if nothing.

        Args:
            network: That will run, in the mode in which it will.
            coords: (V, 4) integer `[batch, x, y, z]`, no two rows alike.
            voxel_id: (N,) int64 voxel of each point.
            halvings: Of the network: 2x2x2 strided convolutions one after the other.
        """
        yield from ()
        return None

    def run(
        self,
        network: nn.Module,
        step: Callable[[Voxels], Tensor],
        feats: Tensor,
        *,
        coords: Callable[[], Tensor],
        prepared: Any = None,
    ) -> Tensor:
        """A network's pass: (V, C) features to (V or more, L) latents; rows beyond V mean nothing.

        Args:
            network: Whose pass it is; a backend may record it, as long as its parameters stay where they are.
            step: The pass.
            feats: (V, C).
            coords: Makes (V, 4), which a prepared pass does not need.
            prepared: What `prepare` said of these cells.
        """
        return step(self.voxels(feats, coords()))

    def spread(self, latents: Tensor, voxel_id: Tensor, *, prepared: Any = None) -> Tensor:
        """Latents (V or more, L) of the voxels to the points, (N, L)."""
        return latents.index_select(0, voxel_id)
