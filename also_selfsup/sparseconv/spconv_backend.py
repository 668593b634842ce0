"""Adapter to spconv 2.x (wheels `spconv` for the CPU, `spconv-cu1xx` for CUDA), imported only when asked for.

Letters: V voxels (rows), C channels, K cells of a kernel, I input channels, O output channels.

Verified with spconv 2.3.8 on the CPU: forward of every operation against the native backend. Its CPU code is
right on one thread only (4-24 % off with more, over a MinkUNet), so this adapter holds it to one, and it
cannot train there. The CUDA wheels speak the same interface; nothing in the tests runs them.

spconv wants cells from 0 up and drops the border of odd grids, so cells are shifted by multiples of
`ALIGNMENT`, into a grid padded to them: strided convolutions up to 2**6 then see what an unbounded grid has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from also_selfsup.settings.names import MissingLibraryError
from also_selfsup.sparseconv import units
from also_selfsup.sparseconv.interface import Backend, Geometry, Triple, Voxels
from also_selfsup.sparseconv.kernels import as_cells, to_spconv

try:
    import spconv.pytorch as spconv
except ImportError as error:
    raise MissingLibraryError(
        "framework spconv: the library is not installed. For the CPU: pip install 'also-selfsup[spconv]'; "
        "for a GPU the wheel of its CUDA version, e.g. pip install spconv-cu126. Or take "
        "cfg.network.framework=native: weights are the same for all frameworks."
    ) from error

ALIGNMENT = 64


@dataclass(frozen=True)
class SpconvVoxels:
    """Voxels of spconv; `low` is the cell of its index 0, `lows` those of the levels before."""

    sparse: Any
    low: Triple
    made_by: tuple[Geometry, ...]
    lows: tuple[Triple, ...]
    backend: SpconvBackend
    shared: dict[Any, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def feats(self) -> Tensor:
        """(V, C) features."""
        feats: Tensor = self.sparse.features
        return feats

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 cells `[batch, x, y, z]`."""
        coords: Tensor = self.sparse.indices + self.sparse.indices.new_tensor((0, *self.low))
        return coords

    @property
    def level(self) -> int:
        """Down-samplings since the input."""
        return len(self.made_by)

    @property
    def notes(self) -> dict[str, Any]:
        """What was derived from the cells of this level."""
        return self.shared.setdefault(self.made_by, {})

    def with_feats(self, feats: Tensor) -> SpconvVoxels:
        """The same cells with other features."""
        return replace(self, sparse=self.sparse.replace_feature(feats))


class SpconvBackend(Backend):
    """The operations of `Backend` by spconv's modules, with our kernels put in as their weights."""

    name = "spconv"

    def __init__(self) -> None:
        self._modules: dict[tuple[Geometry, int, int, str], nn.Module] = {}

    def voxels(self, feats: Tensor, coords: Tensor, *, grid: Triple | None = None) -> SpconvVoxels:
        """Voxels of level 0. Duplicate cells are not looked for; spconv would mix them up."""
        low, shape, batch_size = _box(coords)
        if grid is not None:
            low, shape = (0, 0, 0), grid
        indices = coords.int() - coords.new_tensor((0, *low), dtype=torch.int32)
        sparse = spconv.SparseConvTensor(feats, indices.contiguous(), list(shape), batch_size)
        return SpconvVoxels(sparse, low, (), (), self)

    def features(self, x: Voxels) -> Tensor:
        """(V, C): spconv keeps the rows of level 0 in the caller's order."""
        return x.feats

    def submanifold(self, x: Voxels, kernel: Tensor, size: Triple) -> SpconvVoxels:
        """Convolution on the same cells; odd sizes only."""
        x = _own(x)
        if kernel.dim() == 2:
            return x.with_feats(x.feats @ kernel)
        if not all(length % 2 for length in size):
            raise ValueError(f"submanifold size {size}: spconv takes odd sizes only; use framework=native.")
        return self._run(x, kernel, Geometry("submanifold", size))

    def downsample(
        self, x: Voxels, kernel: Tensor, size: Triple, stride: Triple, padding: Triple
    ) -> SpconvVoxels:
        """Strided convolution; coarse cells in spconv's order."""
        x = _own(x)
        geometry = Geometry("downsample", size, stride, padding)
        y = self._run(x, kernel, geometry)
        a, b, c = (low // step for low, step in zip(x.low, stride, strict=True))
        return replace(y, low=(a, b, c), lows=(*x.lows, x.low), made_by=(*x.made_by, geometry))

    def upsample(self, x: Voxels, kernel: Tensor, size: Triple) -> SpconvVoxels:
        """Inverse of the down-sampling that made `x`."""
        x = _own(x)
        if not x.made_by:
            raise ValueError("upsample: these voxels are on level 0, no down-sampling made them.")
        if x.made_by[-1].size != size:
            raise ValueError(
                f"upsample: size {size}, but the down-sampling to undo has {x.made_by[-1].size}."
            )
        y = self._run(x, kernel, Geometry("upsample", size))
        return replace(y, low=x.lows[-1], lows=x.lows[:-1], made_by=x.made_by[:-1])

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

    def _run(self, x: SpconvVoxels, kernel: Tensor, geometry: Geometry) -> SpconvVoxels:
        """The convolution by a module of spconv that holds our kernel for the moment."""
        feats, cells = units.autocast(x.feats, as_cells(kernel, geometry.size))
        weight = to_spconv(cells, geometry.size)
        module = self._module(x, geometry, cells)
        sparse = x.sparse.replace_feature(feats)
        with torch.autocast(feats.device.type, enabled=False):
            if feats.is_cuda:
                result = torch.func.functional_call(module, {"weight": weight}, (sparse,))
            else:
                with _one_thread(), torch.no_grad():
                    result = torch.func.functional_call(module, {"weight": weight}, (sparse,))
                result = result.replace_feature(_forward_only(result.features, feats, weight))
        return replace(x, sparse=result)

    def _module(self, x: SpconvVoxels, geometry: Geometry, cells: Tensor) -> nn.Module:
        """A module without weights of its own; pairs are cached in the sparse tensor under its key."""
        made_by = x.made_by
        if geometry.kind == "upsample":
            geometry_down, made_by = made_by[-1], made_by[:-1]
        else:
            geometry_down = geometry
        key = "/".join(map(str, (*made_by, geometry_down)))
        in_channels, out_channels = cells.shape[1:]
        name = (geometry, in_channels, out_channels, key)
        if name not in self._modules:
            with torch.device("meta"):
                self._modules[name] = _new_module(geometry, in_channels, out_channels=out_channels, key=key)
        return self._modules[name]


def _new_module(geometry: Geometry, in_channels: int, *, out_channels: int, key: str) -> nn.Module:
    if geometry.kind == "submanifold":
        module = spconv.SubMConv3d(in_channels, out_channels, geometry.size, bias=False, indice_key=key)
    elif geometry.kind == "upsample":
        module = spconv.SparseInverseConv3d(
            in_channels, out_channels, geometry.size, indice_key=key, bias=False
        )
    else:
        module = spconv.SparseConv3d(
            in_channels,
            out_channels,
            geometry.size,
            geometry.stride,
            geometry.padding,
            bias=False,
            indice_key=key,
        )
    result: nn.Module = module
    return result


def _box(coords: Tensor) -> tuple[Triple, Triple, int]:
    """Lowest cell and extent of a grid aligned and padded to ALIGNMENT, and the number of scans."""
    if not len(coords):
        return (0, 0, 0), (ALIGNMENT,) * 3, 1
    (_, *low), (last, *high) = torch.stack(torch.aminmax(coords, dim=0)).tolist()
    x, y, z = ((value // ALIGNMENT - 1) * ALIGNMENT for value in low)
    ends = ((value // ALIGNMENT + 2) * ALIGNMENT for value in high)
    a, b, c = (end - start for end, start in zip(ends, (x, y, z), strict=True))
    return (x, y, z), (a, b, c), last + 1


def _own(x: Voxels) -> SpconvVoxels:
    if not isinstance(x, SpconvVoxels):
        raise TypeError(f"voxels of backend {x.backend.name!r} given to the spconv backend.")
    return x


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _forward_only(result: Tensor, feats: Tensor, weight: Tensor) -> Tensor:
    """The result, with a gradient that says why there is none."""
    output: Tensor = _ForwardOnly.apply(result, feats, weight)  # type: ignore[no-untyped-call]
    return output


class _ForwardOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, result: Tensor, feats: Tensor, weight: Tensor) -> Tensor:
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        raise RuntimeError(
            "framework spconv cannot train on the CPU (its CPU build has no backward): use "
            "cfg.network.framework=native, which reads the same checkpoints."
        )
