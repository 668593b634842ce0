"""Inside a network: convolution, batch-norm, residual sum and ReLU of any backend, one after the other.

Letters: V voxels (rows), C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from also_selfsup.sparseconv.interface import Geometry, Voxels


def convolve(x: Voxels, kernel: Tensor, geometry: Geometry) -> Voxels:
    """The convolution of that kind by the backend of `x`."""
    if geometry.kind == "submanifold":
        return x.backend.submanifold(x, kernel, geometry.size)
    if geometry.kind == "downsample":
        return x.backend.downsample(x, kernel, geometry.size, geometry.stride, geometry.padding)
    return x.backend.upsample(x, kernel, geometry.size)


def autocast_dtype(feats: Tensor) -> torch.dtype:
    """The type in which these features are to be convolved: autocast's where it is on, but float64 stays."""
    device = feats.device.type
    if torch.is_autocast_enabled(device) and feats.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return feats.dtype


def autocast(feats: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Features and kernel in autocast's dtype where it is on (float64 stays), checked to fit one another.

    Raises:
        ValueError: Different dtypes or numbers of input channels.
    """
    if torch.is_autocast_enabled(feats.device.type) and feats.dtype != torch.float64:
        dtype = autocast_dtype(feats)
        feats, cells = feats.to(dtype), cells.to(dtype)
    if feats.dtype != cells.dtype or feats.shape[1] != cells.shape[1]:
        raise ValueError(
            f"features {tuple(feats.shape)} {feats.dtype} and kernel {tuple(cells.shape)} {cells.dtype} "
            "do not fit: they need one dtype and as many input channels."
        )
    return feats, cells


def compose(
    x: Voxels,
    kernel: Tensor,
    *,
    geometry: Geometry,
    norm: nn.Module | None = None,
    residual: Voxels | None = None,
    relu: bool = False,
) -> Voxels:
    """What `Backend.unit` promises, without fusing anything: relu(norm(convolution(x)) + residual)."""
    y = convolve(x, kernel, geometry)
    return y.with_feats(finish(y.feats, norm=norm, residual=residual, relu=relu))


def finish(feats: Tensor, *, norm: nn.Module | None, residual: Voxels | None, relu: bool) -> Tensor:
    """relu(norm(feats) + residual) on (V, C).

    Sum and ReLU are written over the batch-norm's result, which nothing else needs: batch-norm's gradient is
    computed from its input, ReLU's from its output.
    """
    if norm is not None:
        feats = normalise(feats, norm)
    if residual is not None:
        in_place = norm is not None and feats.dtype == residual.feats.dtype
        feats = feats.add_(residual.feats) if in_place else feats + residual.feats
    if not relu:
        return feats
    return functional.relu(feats, inplace=norm is not None or residual is not None)


def normalise(feats: Tensor, norm: nn.Module) -> Tensor:
    """Batch-norm of (V, C) over the rows, defined for any V.

    torch refuses to train on a single row and spoils the running statistics on none. Sparse tensors can have
    both (a scan with one cell): no row leaves the statistics as they are, one row counts as variance 0.
    """
    if not isinstance(norm, nn.BatchNorm1d) or not norm.training or len(feats) > 1:
        return _call(norm, feats)
    if len(feats):
        _track_one_row(feats, norm)
    normalised = feats - feats
    return normalised if norm.weight is None else normalised * norm.weight + norm.bias


def _call(norm: nn.Module, feats: Tensor) -> Tensor:
    if isinstance(norm, nn.BatchNorm1d):
        return nn.BatchNorm1d.forward(norm, feats)
    normalised: Tensor = norm(feats)
    return normalised


def _track_one_row(feats: Tensor, norm: nn.BatchNorm1d) -> None:
    """Running statistics after a row with a variance of 0."""
    mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if mean is not None and variance is not None and batches is not None:
        batches.add_(1)
        momentum = 1.0 / float(batches) if norm.momentum is None else norm.momentum
        mean.lerp_(feats.detach()[0].to(mean.dtype), momentum)
        variance.mul_(1 - momentum)
