"""Inside SPVCNN: features between points and the voxels of any level, and back.

Letters: N points, V voxels of a level, C channels.

The points are the cells of level 0 at their whole numbers, not the lidar's points (as in the published
SPVCNN), so on level 0 both operations are the identity. Which rows mix, by which weights, is found once per
level and batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from also_selfsup.sparseconv.interface import Voxels
from also_selfsup.sparseconv.native.levels import first_level

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


def devoxelize(x: Voxels, points: Voxels) -> Tensor:
    """Features of voxels read at the points by trilinear interpolation.

    At stride s the corners around a point c are floor(c / s) * s and that plus s, a voxel lying at its lowest
    corner. Corners without a voxel weigh 0, the others are scaled to sum 1.

    Args:
        x: (V, C) voxels of any level, made from `points` by strides of 2.
        points: Voxels of level 0 of the same batch, N of them; only their cells count.

    Returns:
        (N, C) in the row order of `points`.
    """
    if x.level == 0:
        return x.feats
    return _mix(x.feats, _mixtures(x, points).to_points)


def voxelize_mean(feats: Tensor, points: Voxels, x: Voxels) -> Tensor:
    """Mean over the points of each voxel.

    Args:
        feats: (N, C) in the row order of `points`.
        points: Voxels of level 0, N of them; only their cells count.
        x: Voxels of any level, made from `points` by strides of 2; only their cells count.

    Returns:
        (V, C) in the row order of `x`.
    """
    if x.level == 0:
        return feats
    return _mix(feats, _mixtures(x, points).to_voxels)


@dataclass(frozen=True)
class _Mixture:
    """A sparse matrix by rows (input rows and weights of each output row), and the same transposed."""

    rows: Tensor
    starts: Tensor
    weights: Tensor
    rows_back: Tensor
    starts_back: Tensor
    weights_back: Tensor


@dataclass(frozen=True)
class _Mixtures:
    points: dict[str, Any]
    to_points: _Mixture
    to_voxels: _Mixture


def _mixtures(x: Voxels, points: Voxels) -> _Mixtures:
    """Both mixtures between the points and the level of `x`, found once."""
    known = x.notes.get("points")
    if isinstance(known, _Mixtures) and known.points is points.notes:
        return known
    if points.level != 0:
        raise ValueError(f"points have to be voxels of level 0, found level {points.level}.")
    found = _Mixtures(points.notes, _trilinear(x, points), _mean(x, points))
    x.notes["points"] = found
    return found


def _trilinear(x: Voxels, points: Voxels) -> _Mixture:
    cells = first_level(x.coords)
    coords, width = points.coords.long(), 2**x.level
    lowest = torch.cat((coords[:, :1], coords[:, 1:] >> x.level), dim=1)
    share = (coords[:, 1:] - (lowest[:, 1:] << x.level)).double() / width
    columns, weights = [], []
    for corner in CORNERS:
        step = coords.new_tensor((0, *corner))
        columns.append(cells.find(cells.index.numbering.numbers(lowest + step)))
        near = torch.where(step[1:].bool(), share, 1 - share)
        weights.append(near.prod(1))
    voxels, amounts = torch.stack(columns, 1), torch.stack(weights, 1)
    amounts = amounts.masked_fill(voxels < 0, 0)
    amounts = amounts / amounts.sum(1, keepdim=True)
    rows, corners = torch.nonzero(amounts > 0, as_tuple=True)
    shape = (len(points.coords), len(x.coords))
    return _mixture(rows, voxels[rows, corners], amounts[rows, corners], shape=shape)


def _mean(x: Voxels, points: Voxels) -> _Mixture:
    cells = first_level(x.coords)
    coords = points.coords.long()
    voxels = cells.find(
        cells.index.numbering.numbers(torch.cat((coords[:, :1], coords[:, 1:] >> x.level), dim=1))
    )
    counts = torch.bincount(voxels, minlength=len(x.coords))
    rows = torch.arange(len(coords), device=coords.device)
    return _mixture(voxels, rows, 1.0 / counts[voxels].double(), shape=(len(x.coords), len(coords)))


def _mixture(outputs: Tensor, inputs: Tensor, weights: Tensor, *, shape: tuple[int, int]) -> _Mixture:
    """From entries (output row, input row, weight) in any order; `shape` is (output rows, input rows)."""
    return _Mixture(
        *_by_row(outputs, inputs, weights, count=shape[0]),
        *_by_row(inputs, outputs, weights, count=shape[1]),
    )


def _by_row(rows: Tensor, columns: Tensor, weights: Tensor, *, count: int) -> tuple[Tensor, Tensor, Tensor]:
    ascending, order = torch.sort(rows, stable=True)
    starts = torch.searchsorted(ascending, torch.arange(count + 1, device=rows.device))
    return columns[order], starts, weights[order]


def _mix(feats: Tensor, mixture: _Mixture) -> Tensor:
    result: Tensor = _Mix.apply(feats, mixture)  # type: ignore[no-untyped-call]
    return result


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, mixture: _Mixture) -> Tensor:
        ctx.mixture = mixture
        return _weighted_sums(feats, mixture.rows, mixture.starts, weights=mixture.weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        mixture: _Mixture = ctx.mixture
        return _weighted_sums(
            grad, mixture.rows_back, mixture.starts_back, weights=mixture.weights_back
        ), None


def _weighted_sums(feats: Tensor, rows: Tensor, starts: Tensor, *, weights: Tensor) -> Tensor:
    """Σ weights * feats[rows] over each segment of `rows`, in float32 at least."""
    wide = feats.float() if feats.dtype in (torch.float16, torch.bfloat16) else feats
    if not len(rows):
        return feats.new_zeros(len(starts) - 1, feats.shape[1])
    sums = functional.embedding_bag(
        rows,
        wide.contiguous(),
        starts,
        mode="sum",
        per_sample_weights=weights.to(wide.dtype),
        include_last_offset=True,
    )
    return sums.to(feats.dtype)
