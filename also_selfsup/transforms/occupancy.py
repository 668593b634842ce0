"""After decimation, before thinning: the pretext task's queries, and the occupancy to predict at each.

B scans, N points, Q queries of the batch.
"""

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.randomness import random_order
from also_selfsup.transforms.rows import count_per_scan, leading_rows, read_sizes, scan_starts, take_rows

# A ray to a point this near to the sensor (metres) has no direction worth the name.
NEAREST_TARGET = 0.01
IN, OUT, FAR = 0, 1, 2


def generate_queries(
    batch: Batch, *, count: int, distance: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw queries along the rays from each scan's sensor to its points (ALSO, CVPR 2023, section 3).

    With p a point, s the sensor, r the unit ray from s to p, delta = `distance` and u ~ U(0, 1), a scan gets

    * count - 2 * (count // 3) queries "in": p + u delta r, just behind the surface, occupied;
    * count // 3 queries "out": p - u delta r, just before it, free;
    * count // 3 queries "far": s + u (p - s), anywhere on the way, free.

    Points are drawn uniformly without replacement: every query of a scan has a point of its own. A scan with
    fewer points than queries uses points again for another kind; one with N points fewer than a kind's share
    gets N queries of that kind. Points within a centimetre of the sensor are not drawn. One read by the host.

    Args:
        batch: `pos` (N, 3), `intensities` (N, 1), `sensor` (B, 3) in metres, `batch` (N,) ascending;
            decimated, not thinned. `origins` (N, 3), if it is there, says of each point where its ray starts
            instead of `sensor`: points of several frames.
        count: Queries of a scan.
        distance: Delta, metres.
        generator: On the device of the batch.

    Returns:
        `pos_non_manifold` (Q, 3) metres, `pos_non_manifold_batch` (Q,) int64 ascending, `occupancies`
        (Q,) int64 1 or 0, `intensities_non_manifold` (Q, 1), that of the point, -1 for "far".
    """
    scan, point, kind = _draw_targets(batch, count, generator)
    sensor = take_rows(batch["origins"], point) if "origins" in batch else take_rows(batch["sensor"], scan)
    way = take_rows(batch["pos"], point) - sensor
    depth = way.norm(dim=1)

    u = torch.rand(depth.shape, generator=generator, device=depth.device, dtype=depth.dtype)
    along = torch.where(kind == IN, depth + u * distance, depth - u * distance)
    along = torch.where(kind == FAR, u * depth, along)

    intensity = take_rows(batch["intensities"], point)
    return {
        "pos_non_manifold": sensor + way * (along / depth)[:, None],
        "pos_non_manifold_batch": scan,
        "occupancies": (kind == IN).long(),
        "intensities_non_manifold": torch.where((kind == FAR)[:, None], -1.0, intensity),
    }


def _draw_targets(batch: Batch, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Scan, point and kind of each query, three (Q,) int64; by scan, then by kind."""
    index, scan_count = batch["batch"], batch["sensor"].shape[0]
    origins = batch["origins"] if "origins" in batch else take_rows(batch["sensor"], index)
    near = (batch["pos"] - origins).norm(dim=1) < NEAREST_TARGET
    starts = scan_starts(index, scan_count)
    usable = starts.diff() - count_per_scan(near, starts)
    order = random_order(2 * index + near, group_count=2 * scan_count, generator=generator)  # near ones last

    share = count // 3
    behind, free = usable.clamp(max=count - 2 * share), usable.clamp(max=share)
    sizes = read_sizes(usable)
    total = sum(min(size, count - 2 * share) + 2 * min(size, share) for size in sizes)
    scan = torch.arange(scan_count, device=index.device).repeat_interleave(
        behind + 2 * free, output_size=total
    )
    rank = leading_rows(torch.zeros_like(usable), behind + 2 * free, total)
    # Ranks walk through the random order, and begin anew where it ends: no kind meets a point twice.
    point = order.index_select(0, starts.index_select(0, scan) + rank % usable.index_select(0, scan))
    kind = (rank >= behind.index_select(0, scan)).long() + (rank >= (behind + free).index_select(0, scan))
    return scan, point, kind
