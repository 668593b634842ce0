"""Before the decoder on a GPU: the pairs within a radius, as many as there may be, counted on the device.

Letters: Q queries, M supports, P pairs, C the most pairs there can be (Q times the limit).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from also_selfsup.transforms.launch import has_matrix_units
from also_selfsup.transforms.pending import read_later

# Cells are a little wider than the radius, so that no rounding can hide a neighbour two cells away.
CELL_SLACK = 1.0 + 1e-6
ROWS = 256
# By the axes of the distance: ranges of cells around a query, filled up to a power of two, and how many
# candidates of each are looked at together.
RANGES = {2: {"R": 4, "W": 32}, 3: {"R": 16, "W": 16}}
# 20 bytes each: 1.3 GB.
MOST_PAIRS = 2**26


@dataclass(frozen=True)
class Pairs:
    """Query-support pairs, sorted by query; rows from P on hold -1.

    Attributes:
        query: (C,) int64.
        support: (C,) int64.
        keys: (C,) int32, the supports once more; M from P on.
        numbers: (2,) int32, P and, after a search, whether a position was not finite.
        support_count: M.
        arrived: Gives `numbers` on the host.
    """

    query: Tensor
    support: Tensor
    keys: Tensor
    numbers: Tensor
    support_count: int
    arrived: Callable[[], list[int]]

    @classmethod
    def of(cls, query: Tensor, support: Tensor, *, support_count: int) -> Pairs:
        """Pairs (P,) that are known already."""
        count = len(query)
        numbers = query.new_full((2,), count, dtype=torch.int32)
        return cls(query, support, support.int(), numbers, support_count, lambda: [count, 0])

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Tell the allocator that a stream uses this memory."""
        for tensor in (self.query, self.support, self.keys, self.numbers):
            tensor.record_stream(stream)

    def exact(self) -> tuple[Tensor, Tensor]:
        """pair_query (P,) and pair_support (P,). The host waits for the search, not for what came after it.

        Raises:
            ValueError: A position was not finite.
        """
        count, not_finite = self.arrived()
        if not_finite:
            raise ValueError(
                "positions of queries or supports are not finite: leave such points out when reading"
            )
        return self.query[:count], self.support[:count]


def searchable(query_pos: Tensor, support_pos: Tensor, *, limit: int) -> bool:
    """Whether `search` can do it: float32 on a GPU that Triton compiles for, and pairs that fit in memory."""
    query_count, support_count = query_pos.shape[0], support_pos.shape[0]
    return (
        query_pos.is_cuda
        and query_pos.dtype == support_pos.dtype == torch.float32
        and 0 < query_count * min(limit, support_count) <= MOST_PAIRS
        and has_matrix_units(query_pos.device)
    )


@torch.no_grad()
def search(
    query_pos: Tensor,
    support_pos: Tensor,
    *,
    query_batch: Tensor,
    support_batch: Tensor,
    radius: float,
    axes: int = 3,
    limit: int = 32,
    generator: torch.Generator | None = None,
) -> Pairs:
    """Find the pairs that `neighbours.radius_pairs` promises, with nothing read by the host.

    Args:
        query_pos: (Q, 3) float32, metres.
        support_pos: (M, 3) float32, metres, in the same frame.
        query_batch: (Q,) int64, scan of each query.
        support_batch: (M,) int64, scan of each support; any order.
        radius: Metres; pairs are strictly nearer.
        axes: 3, or 2 for distances in x, y alone.
        limit: Most supports of a query; a uniform draw when there are more.
        generator: Source of the draw; None takes torch's global one.
    """
    from also_selfsup.networks.neighbours_triton import GROUP  # needs Triton

    query_count, support_count = len(query_pos), len(support_pos)
    circle = max(8, 2 << (support_count - 1).bit_length())
    constants = {"INVERSE": 1 / (radius * CELL_SLACK), "D": axes}
    points, records, numbers = _sorted_supports(
        support_pos.contiguous(), support_batch,
        seeds=_seeds(query_pos.device, generator), circle=circle, groups=-(-query_count // GROUP.value),
        constants=constants,
    )  # fmt: skip
    found, keys = _matched(
        (query_pos.contiguous(), query_batch, points, records), numbers,
        sizes=(support_count, circle, min(limit, support_count)),
        constants={**constants, "SQUARED": radius * radius, **RANGES[axes]},
    )  # fmt: skip
    return Pairs(found[0], found[1], keys, numbers, support_count, read_later(numbers))


def _matched(
    candidates: tuple[Tensor, ...],
    numbers: Tensor,
    *,
    sizes: tuple[int, int, int],
    constants: dict[str, float],
) -> tuple[Tensor, Tensor]:
    """Count and list the pairs.

    Args:
        candidates: Positions and scans of the queries, points and records of the supports.
        numbers: (2,) int32, completed here.
        sizes: M, numbers of cells, most pairs of a query.
        constants: Of the kernels.

    Returns:
        (2, C) int64, queries and supports, -1 from P on; (C,) int32, the supports, M from P on.
    """
    from also_selfsup.networks import neighbours_triton as kernels

    query_count, device = len(candidates[0]), numbers.device
    grid, most = (query_count, 1, 1), query_count * sizes[2]
    counts = torch.empty(query_count, dtype=torch.int32, device=device)
    thresholds = torch.empty(query_count, dtype=torch.int64, device=device)
    # Products and sums are rounded one by one, as in torch's own formula.
    kernels.launch_count(
        grid, (*candidates, numbers, counts, thresholds, *sizes),
        constants=constants, warps=1, fused_sums=False,
    )  # fmt: skip
    found = torch.empty((2, most), dtype=torch.int64, device=device)
    keys = torch.empty(most, dtype=torch.int32, device=device)
    kernels.launch_list(
        grid, (*candidates, counts, thresholds, numbers, found, keys, *sizes),
        constants=constants, warps=1, fused_sums=False,
    )  # fmt: skip
    return found, keys


def _sorted_supports(
    pos: Tensor, batch: Tensor, *, seeds: Tensor, circle: int, groups: int, constants: dict[str, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort the supports by their cells.

    Returns:
        points (D, M) float32 and records int32, as `neighbours_sorted` says; numbers (2,) int32, of which the
        second says whether a support is not finite.
    """
    from also_selfsup.networks import neighbours_sorted as kernels

    count, device = pos.shape[0], pos.device
    blocks, begins = -(-count // ROWS), circle + 1 + groups
    cell_keys = torch.empty(count, dtype=torch.int32, device=device)
    flags = torch.empty(blocks, dtype=torch.int32, device=device)
    kernels.launch_keys(
        (blocks, 1, 1), (pos, batch, cell_keys, flags, count, circle), constants={**constants, "B": ROWS}
    )
    ascending, order = torch.sort(cell_keys, stable=True)
    records = torch.empty(4 * count + begins, dtype=torch.int32, device=device)
    points = torch.empty(int(constants["D"]), count, device=device)
    numbers = torch.empty(2, dtype=torch.int32, device=device)
    kernels.launch_sort(
        (blocks + -(-begins // ROWS), 1, 1),
        (order, ascending, pos, batch, seeds, flags, points, records, numbers, count, circle, groups),
        constants={**constants, "B": ROWS},
    )
    return points, records, numbers


def _seeds(device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Two numbers for the shuffle, drawn where the generator lives."""
    drawn_on = device if generator is None else generator.device
    drawn = torch.randint(-(2**31), 2**31, (2,), generator=generator, device=drawn_on)
    return drawn.to(device, non_blocking=True)
