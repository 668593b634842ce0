"""After thinning: each scan turned about z and mirrored at random, with its queries and its sensor.

B scans, N points or queries.
"""

import math

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch


def rotate_z(batch: Batch, *, generator: torch.Generator) -> Batch:
    """Rotate each scan about the z axis of its frame by an angle ~ U(-180, 180) degrees."""
    return augment(batch, rotation=True, flip=False, generator=generator)


def flip_x(batch: Batch, *, generator: torch.Generator) -> Batch:
    """Mirror each scan in x (x becomes -x) with probability one half."""
    return augment(batch, rotation=False, flip=True, generator=generator)


def augment(batch: Batch, *, rotation: bool, flip: bool, generator: torch.Generator) -> Batch:
    """Rotate about z, then mirror in x: points, queries where there are any, and sensor in the same way.

    Args:
        batch: `pos` (N, 3), `batch` (N,), `sensor` (B, 3); where queries were drawn, `pos_non_manifold`
            and `pos_non_manifold_batch` too.
        rotation: Rotate each scan.
        flip: Mirror each scan with probability one half.
        generator: On the device of the batch.

    Returns:
        The batch with moved positions.
    """
    sensor = batch["sensor"]
    moves = torch.eye(2, dtype=sensor.dtype, device=sensor.device).expand(sensor.shape[0], 2, 2)
    if rotation:
        moves = _rotations(sensor, generator)
    if flip:
        moves = moves * _mirrors(sensor, generator)
    if not (rotation or flip):
        return batch
    scans = torch.arange(sensor.shape[0], device=sensor.device)
    moved = {"pos": _move(batch["pos"], batch["batch"], moves), "sensor": _move(sensor, scans, moves)}
    if "pos_non_manifold" in batch:
        queries, scan = batch["pos_non_manifold"], batch["pos_non_manifold_batch"]
        moved["pos_non_manifold"] = _move(queries, scan, moves)
    return {**batch, **moved}


def _rotations(sensor: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 2, 2), one random rotation a scan."""
    turns = torch.rand(sensor.shape[0], generator=generator, device=sensor.device, dtype=sensor.dtype)
    angles = (2 * turns - 1) * math.pi
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)


def _mirrors(sensor: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 2, 1), factors of the rows of a matrix: -1 or 1 for x, 1 for y."""
    draw = torch.rand(sensor.shape[0], generator=generator, device=sensor.device)
    signs = torch.where(draw < 0.5, -1.0, 1.0).to(sensor.dtype)
    return torch.stack([signs, torch.ones_like(signs)], dim=1)[:, :, None]


def _move(pos: Tensor, scan: Tensor, moves: Tensor) -> Tensor:
    """Apply each scan's (2, 2) matrix to x and y of its rows of `pos` (N, 3)."""
    xx, xy, yx, yy = (
        entry.index_select(0, scan) for entry in moves.flatten(1).t().to(pos.dtype).contiguous()
    )
    x, y, _ = pos.unbind(1)
    moved = pos.clone()
    moved[:, 0] = torch.mul(x, xx).addcmul_(y, xy)
    moved[:, 1] = torch.mul(x, yx).addcmul_(y, yy)
    return moved
