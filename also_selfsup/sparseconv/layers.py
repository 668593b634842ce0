"""Inside a network: the layers, which own the parameters and act on voxels of any backend.

Letters: V voxels (rows), K cells of a kernel, I input channels, O output channels.

Names and shapes of the parameters are those of the published checkpoints: one `kernel` (K, I, O), or (I, O)
when K = 1, without bias; batch-norm as in `torch.nn.BatchNorm1d`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from also_selfsup.sparseconv.interface import Geometry, Size, Voxels, triple
from also_selfsup.sparseconv.kernels import new_kernel
from also_selfsup.sparseconv.units import convolve, normalise


class SparseConvolution(nn.Module, ABC):
    """A convolution without bias; a subclass owns the parameter, in a layout of its own."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    @abstractmethod
    def cells(self) -> Tensor:
        """The kernel as backends take it: (K, I, O), or (I, O) when K = 1, in the order of `kernels.py`."""

    def forward(self, x: Voxels) -> Voxels:
        """Voxels with I channels to voxels with O channels."""
        return convolve(x, self.cells(), self.geometry)


class SparseConv3d(SparseConvolution):
    """A convolution with the published parameter; use one of its three kinds below."""

    def __init__(self, in_channels: int, out_channels: int, *, geometry: Geometry) -> None:
        super().__init__(geometry)
        transposed = geometry.kind == "upsample"
        self.kernel = nn.Parameter(
            new_kernel(geometry.size, in_channels, out_channels=out_channels, transposed=transposed)
        )

    def cells(self) -> Tensor:
        """The parameter itself."""
        return self.kernel

    def extra_repr(self) -> str:
        """Channels and geometry, for `print(network)`."""
        in_channels, out_channels = self.kernel.shape[-2:]
        return f"{in_channels}, {out_channels}, size={self.geometry.size}, stride={self.geometry.stride}"


class SubmanifoldConv3d(SparseConv3d):
    """Output cells are the input cells; cells outside count as 0. Size 1 is a plain matrix product."""

    def __init__(self, in_channels: int, out_channels: int, size: Size = 3) -> None:
        super().__init__(in_channels, out_channels, geometry=Geometry("submanifold", triple(size)))


class DownsampleConv3d(SparseConv3d):
    """Strided convolution to the next coarser level; by default the coarse cell is floor(c / 2)."""

    def __init__(
        self, in_channels: int, out_channels: int, size: Size = 2, stride: Size = 2, padding: Size = 0
    ) -> None:
        geometry = Geometry("downsample", triple(size), triple(stride), triple(padding))
        super().__init__(in_channels, out_channels, geometry=geometry)


class UpsampleConv3d(SparseConv3d):
    """Transposed convolution that undoes the down-sampling (of the same size) that made its input's cells."""

    def __init__(self, in_channels: int, out_channels: int, size: Size = 2) -> None:
        super().__init__(in_channels, out_channels, geometry=Geometry("upsample", triple(size)))


class BatchNorm(nn.BatchNorm1d):
    """Batch-norm over the rows of voxels; parameters and buffers as in `torch.nn.BatchNorm1d`.

    Training on no row changes nothing, on one row counts as variance 0 (torch raises there).
    """

    def forward(self, x: Voxels) -> Voxels:  # type: ignore[override]
        """Normalised voxels."""
        return x.with_feats(normalise(x.feats, self))


class ReLU(nn.Module):
    """max(feats, 0)."""

    def forward(self, x: Voxels) -> Voxels:
        """Voxels without negative features."""
        return x.with_feats(functional.relu(x.feats))


class Chain(nn.Sequential):
    """`nn.Sequential` over voxels that hands each convolution, batch-norm, ReLU to the backend as one unit.

    Same parameter names and the same result as `nn.Sequential`; a backend can fuse a unit into one step.
    Forward hooks of the modules inside a chain are not called.
    """

    def forward(self, x: Voxels, residual: Callable[[], Voxels] | None = None) -> Voxels:
        """chain(x), or relu(chain(x) + residual()) when a residual is given.

        The residual is asked for when all but the last unit have run: the first one then reads `x` before it,
        which backends may make use of (`native.gpu.fused.train_unit`).

        Raises:
            ValueError: A residual was given, but the chain does not end with a convolution (and norm).
        """
        modules = list(self)
        start = 0
        while start < len(modules):
            stop = start + _unit_length(modules[start:])
            last = stop == len(modules)
            x = _run_unit(modules[start:stop], x, residual=residual() if residual and last else None)
            start = stop
        return x


def concatenate(x: Voxels, y: Voxels) -> Voxels:
    """Channels of `x`, then those of `y`, on their common cells (both of one level of one batch)."""
    return x.with_feats(torch.cat((x.feats, y.feats), dim=1))


_Role = Literal["norm", "relu", "other"]


def _role(module: nn.Module) -> _Role:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):  # ours, or a SyncBatchNorm
        return "norm"
    return "relu" if isinstance(module, ReLU) else "other"


def _unit_length(modules: list[nn.Module]) -> int:
    """How many modules from the first on make a unit: convolution [, norm] [, ReLU], or any one module."""
    if not isinstance(modules[0], SparseConvolution):
        return 1
    roles = [_role(module) for module in modules[1:3]]
    if roles[:1] == ["norm"]:
        return 3 if roles[1:] == ["relu"] else 2
    return 2 if roles[:1] == ["relu"] else 1


def _run_unit(modules: list[nn.Module], x: Voxels, *, residual: Voxels | None) -> Voxels:
    """One unit by the backend; any other module by itself."""
    head, tail = modules[0], modules[1:]
    relu = bool(tail) and _role(tail[-1]) == "relu"
    if residual is not None and (relu or not isinstance(head, SparseConvolution)):
        raise ValueError("a chain with a residual has to end with a convolution and its norm, without ReLU.")
    if isinstance(head, SparseConvolution):
        norm = tail[0] if tail and _role(tail[0]) == "norm" else None
        relu = relu or residual is not None
        return x.backend.unit(
            x, head.cells(), geometry=head.geometry, norm=norm, residual=residual, relu=relu
        )
    if _role(head) == "norm":
        return x.with_feats(normalise(x.feats, head))
    y: Voxels = head(x)
    return y
