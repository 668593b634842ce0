"""Adapter to torchsparse 1.4 and 2.x (users build it themselves), imported only when asked for.

Letters: V voxels (rows), C channels, K cells of a kernel, I input channels, O output channels.

Not run against the library by our tests: no wheels of it exist. They run it against a stand-in of the
functions used here (`SparseTensor`, `nn.functional.conv3d`, `nn.utils.fapply`), once as 1.4 has them (batch
column last, coarse cells in units of input voxels) and once as 2.1 has them (batch column first, cells of the
level). Kernels need no conversion: ours is torchsparse's layout.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from also_selfsup.settings.names import MissingLibraryError
from also_selfsup.sparseconv import units
from also_selfsup.sparseconv.interface import Backend, Geometry, Triple, Voxels
from also_selfsup.sparseconv.kernels import as_cells, centre

try:
    import torchsparse
    import torchsparse.nn.functional
    from torchsparse.nn.utils import fapply
except ImportError as error:
    raise MissingLibraryError(
        "framework torchsparse: the library is not installed. Build 1.4 or 2.1 as its authors say "
        "(https://github.com/mit-han-lab/torchsparse); the extra also-selfsup[torchsparse] holds the bound. "
        "Or take cfg.network.framework=native: weights are the same for all frameworks."
    ) from error

# Cells are shifted by multiples of this so that none is negative: floor(c / 2) stays right six levels down.
ALIGNMENT = 64


@dataclass(frozen=True)
class TorchsparseVoxels:
    """Voxels of torchsparse; `low` is the input voxel that its cell 0 stands for."""

    sparse: Any
    low: Triple
    made_by: tuple[Geometry, ...]
    backend: TorchsparseBackend
    shared: dict[Any, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def feats(self) -> Tensor:
        """(V, C) features."""
        feats: Tensor = self.sparse.feats
        return feats

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 cells `[batch, x, y, z]` of this level."""
        coords: Tensor = self.sparse.coords
        width = coords.new_tensor(self._width())
        if self.backend.batch_last:
            batch, cells = coords[:, 3:], coords[:, :3].div(width, rounding_mode="floor")
        else:
            batch, cells = coords[:, :1], coords[:, 1:]
        low = coords.new_tensor(self.low).div(width, rounding_mode="floor")
        return torch.cat((batch, cells + low), dim=1)

    def _width(self) -> Triple:
        """Input voxels along each axis of a cell of this level."""
        x = y = z = 1
        for geometry in self.made_by:
            x, y, z = x * geometry.stride[0], y * geometry.stride[1], z * geometry.stride[2]
        return (x, y, z)

    @property
    def level(self) -> int:
        """Down-samplings since the input."""
        return len(self.made_by)

    @property
    def notes(self) -> dict[str, Any]:
        """What was derived from the cells of this level."""
        return self.shared.setdefault(self.made_by, {})

    def with_feats(self, feats: Tensor) -> TorchsparseVoxels:
        """The same cells with other features."""
        return replace(self, sparse=fapply(self.sparse, lambda _: feats))


class TorchsparseBackend(Backend):
    """The operations of `Backend` by `torchsparse.nn.functional.conv3d`, which is given the kernel."""

    name = "torchsparse"

    def __init__(self) -> None:
        self.batch_last = str(torchsparse.__version__).startswith("1.")
        self._options = inspect.signature(torchsparse.nn.functional.conv3d).parameters

    def voxels(self, feats: Tensor, coords: Tensor, *, grid: Triple | None = None) -> TorchsparseVoxels:
        """Voxels of level 0. Bounded grids are not supported; duplicate cells are not looked for."""
        if grid is not None:
            raise ValueError("torchsparse knows no bounded grid: use framework=native or spconv.")
        lowest = torch.amin(coords[:, 1:], dim=0).tolist() if len(coords) else [0, 0, 0]
        x, y, z = (value // ALIGNMENT * ALIGNMENT for value in lowest)
        cells = (coords[:, 1:] - coords.new_tensor((x, y, z))).int()
        batch = coords[:, :1].int()
        columns = (cells, batch) if self.batch_last else (batch, cells)
        sparse = torchsparse.SparseTensor(feats=feats, coords=torch.cat(columns, dim=1).contiguous())
        return TorchsparseVoxels(sparse, (x, y, z), (), self)

    def features(self, x: Voxels) -> Tensor:
        """(V, C): torchsparse keeps the rows of level 0 in the caller's order."""
        return x.feats

    def submanifold(self, x: Voxels, kernel: Tensor, size: Triple) -> TorchsparseVoxels:
        """Convolution on the same cells."""
        x = _own(x)
        if kernel.dim() == 2:
            return x.with_feats(x.feats @ kernel)
        return self._run(x, kernel, Geometry("submanifold", size))

    def downsample(
        self, x: Voxels, kernel: Tensor, size: Triple, stride: Triple, padding: Triple
    ) -> TorchsparseVoxels:
        """Strided convolution; coarse cells in torchsparse's order."""
        geometry = Geometry("downsample", size, stride, padding)
        y = self._run(_own(x), kernel, geometry)
        return replace(y, made_by=(*y.made_by, geometry))

    def upsample(self, x: Voxels, kernel: Tensor, size: Triple) -> TorchsparseVoxels:
        """Inverse of the down-sampling that made `x`."""
        x = _own(x)
        if not x.made_by:
            raise ValueError("upsample: these voxels are on level 0, no down-sampling made them.")
        if x.made_by[-1].size != size:
            raise ValueError(
                f"upsample: size {size}, but the down-sampling to undo has {x.made_by[-1].size}."
            )
        y = self._run(x, kernel, replace(x.made_by[-1], kind="upsample"))
        return replace(y, made_by=x.made_by[:-1])

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
        """relu(norm(convolution(x)) + residual), one after the other."""
        return units.compose(x, kernel, geometry=geometry, norm=norm, residual=residual, relu=relu)

    def _run(self, x: TorchsparseVoxels, kernel: Tensor, geometry: Geometry) -> TorchsparseVoxels:
        feats, cells = units.autocast(x.feats, as_cells(kernel, geometry.size))
        options: dict[str, Any] = {"stride": geometry.stride, "transposed": geometry.kind == "upsample"}
        if "padding" in self._options and geometry.kind == "downsample":
            options["padding"] = geometry.padding
        elif geometry.kind == "downsample" and geometry.padding != centre(geometry.size):
            raise ValueError(f"torchsparse 1.x pads size {geometry.size} by {centre(geometry.size)} only.")
        if "training" in self._options:
            options["training"] = torch.is_grad_enabled()
        sparse = fapply(x.sparse, lambda _: feats)
        with torch.autocast(feats.device.type, enabled=False):
            return replace(
                x, sparse=torchsparse.nn.functional.conv3d(sparse, cells, geometry.size, **options)
            )


def _own(x: Voxels) -> TorchsparseVoxels:
    if not isinstance(x, TorchsparseVoxels):
        raise TypeError(f"voxels of backend {x.backend.name!r} given to the torchsparse backend.")
    return x
