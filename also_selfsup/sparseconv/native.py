"""The default backend: sparse convolution with torch alone, on the CPU and on CUDA, in every precision.

Letters: V voxels (rows), C channels, K cells of a kernel, I input channels, O output channels.

Rows keep the caller's order. Lexicographically sorted cells (as `transforms.voxelization` gives them) are
quickest, because neighbours then lie near one another in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from also_selfsup.sparseconv import units
from also_selfsup.sparseconv.interface import Backend, Geometry, Triple, Voxels
from also_selfsup.sparseconv.kernels import as_cells
from also_selfsup.sparseconv.native_levels import KernelMap, Level
from also_selfsup.sparseconv.native_maps import downsample, submanifold_map
from also_selfsup.sparseconv.native_products import convolve


@dataclass(frozen=True)
class NativeVoxels:
    """Voxels of the native backend; `cells` is shared by all features on the same cells of a batch."""

    feats: Tensor
    cells: Level
    backend: NativeBackend

    @property
    def coords(self) -> Tensor:
        """(V, 4) cells `[batch, x, y, z]`."""
        return self.cells.coords

    @property
    def level(self) -> int:
        """Down-samplings since the input."""
        return self.cells.depth

    def with_feats(self, feats: Tensor) -> NativeVoxels:
        """The same cells with other features."""
        if len(feats) != len(self.cells):
            raise ValueError(f"{len(feats)} feature rows for {len(self.cells)} voxels.")
        return NativeVoxels(feats, self.cells, self.backend)


class NativeBackend(Backend):
    """Gather, multiply, sum by segment; see `Backend` for what each method promises."""

    name = "native"

    def voxels(self, feats: Tensor, coords: Tensor, *, grid: Triple | None = None) -> NativeVoxels:
        """Voxels of level 0; raises ValueError for shapes that do not fit and for duplicate cells."""
        if coords.dim() != 2 or coords.shape[1] != 4 or coords.is_floating_point():
            raise ValueError(f"coords: expected (V, 4) integers [batch, x, y, z], found {_describe(coords)}.")
        if feats.dim() != 2 or len(feats) != len(coords) or not feats.is_floating_point():
            raise ValueError(
                f"feats: expected ({len(coords)}, channels) floating point, found {_describe(feats)}."
            )
        return NativeVoxels(feats, Level(coords, grid=grid), self)

    def features(self, x: Voxels) -> Tensor:
        """(V, C) in the caller's row order, which is this backend's own."""
        return x.feats

    def submanifold(self, x: Voxels, kernel: Tensor, size: Triple) -> NativeVoxels:
        """Convolution on the same cells."""
        x = _own(x)
        if kernel.dim() == 2:
            return x.with_feats(x.feats @ kernel)
        return x.with_feats(_run(x.feats, as_cells(kernel, size), submanifold_map(x.cells, size)))

    def downsample(
        self, x: Voxels, kernel: Tensor, size: Triple, stride: Triple, padding: Triple
    ) -> NativeVoxels:
        """Strided convolution; coarse cells ordered by batch, x, y, z."""
        x = _own(x)
        coarse, pairs = downsample(x.cells, Geometry("downsample", size, stride, padding))
        return NativeVoxels(_run(x.feats, as_cells(kernel, size), pairs), coarse, self)

    def upsample(self, x: Voxels, kernel: Tensor, size: Triple) -> NativeVoxels:
        """Inverse of the down-sampling that made `x`."""
        x = _own(x)
        if x.cells.made_by is None:
            raise ValueError("upsample: these voxels are on level 0, no down-sampling made them.")
        fine, pairs, made_with = x.cells.made_by
        if made_with != size:
            raise ValueError(f"upsample: size {size}, but the down-sampling to undo has size {made_with}.")
        return NativeVoxels(_run(x.feats, as_cells(kernel, size), pairs.swapped()), fine, self)

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


def _own(x: Voxels) -> NativeVoxels:
    if not isinstance(x, NativeVoxels):
        raise TypeError(f"voxels of backend {x.backend.name!r} given to the native backend.")
    return x


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}"


def _run(feats: Tensor, cells: Tensor, pairs: KernelMap) -> Tensor:
    """The convolution in the dtype that autocast, or else the arguments, ask for."""
    device = feats.device.type
    if torch.is_autocast_enabled(device) and feats.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        feats, cells = feats.to(dtype), cells.to(dtype)
    if feats.dtype != cells.dtype or feats.shape[1] != cells.shape[1]:
        raise ValueError(
            f"features {_describe(feats)} and kernel {_describe(cells)} do not fit: they need the same dtype and "
            "number of input channels."
        )
    with torch.autocast(device, enabled=False):
        return convolve(feats, cells, pairs)
