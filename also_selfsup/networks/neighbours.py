"""After the backbone, before the decoder: which supports lie within a fixed radius of which query.

Letters: B scans, Q queries, M supports (points or bird's-eye-view cells), P pairs, K candidates (pairs of
neighbouring cells, before the distance test), R ranges of neighbour cells (9 in space, 3 in the plane), D
dimensions (2 or 3).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Cells are a little wider than the radius, so that no rounding of a position's cell or of a distance can hide
# a neighbour two cells away.
_CELL_SLACK = 1.0 + 1e-6
# Along each axis, so that three of them and 2**11 scans fit into the 63 bits of a key.
_MOST_CELLS = 2**17
# About 60 bytes each while they live: 1 GB at the most, whatever the cloud.
_MOST_CANDIDATES = 2**24


@torch.no_grad()
def radius_pairs(
    query_pos: Tensor,
    support_pos: Tensor,
    *,
    query_batch: Tensor,
    support_batch: Tensor,
    radius: float,
    limit: int = 32,
    generator: torch.Generator | None = None,
    most_candidates: int = _MOST_CANDIDATES,
) -> tuple[Tensor, Tensor]:
    """Find, exactly, the supports of each query: same scan, squared distance < radius² (strictly).

    A query with more than `limit` supports in its ball keeps a uniformly random `limit` of them: the supports
    are shuffled once and each query takes the first of its own (the first in storage order would favour one
    side of the scan).

    Args:
        query_pos: (Q, D) metres.
        support_pos: (M, D) metres, in the same frame.
        query_batch: (Q,) int64, scan of each query.
        support_batch: (M,) int64, scan of each support; any order.
        radius: metres.
        limit: most supports a query keeps.
        generator: source of the shuffle; None takes torch's global one.
        most_candidates: queries are searched in parts so that no part looks at more candidates than this
            (unless one query alone has more).

    Returns:
        pair_query (P,) and pair_support (P,), int64 rows, sorted by query.

    Raises:
        ValueError: radius or limit is not positive, or positions are not finite.
    """
    if radius <= 0 or limit < 1:
        raise ValueError(f"radius={radius}, limit={limit}: the radius must be above 0, the limit at least 1")
    if query_pos.shape[0] == 0 or support_pos.shape[0] == 0:
        empty = query_batch.new_zeros(0)
        return empty, empty
    shuffled = _shuffle(support_pos.shape[0], device=support_pos.device, generator=generator)
    pair_query, pair_support = _search(
        query_pos,
        support_pos[shuffled],
        query_batch=query_batch,
        support_batch=support_batch[shuffled],
        radius=radius,
        limit=limit,
        most_candidates=most_candidates,
    )
    return pair_query, shuffled[pair_support]


def _search(
    query_pos: Tensor,
    support_pos: Tensor,
    *,
    query_batch: Tensor,
    support_batch: Tensor,
    radius: float,
    limit: int,
    most_candidates: int,
) -> tuple[Tensor, Tensor]:
    """Find the first `limit` supports, in storage order, in the ball of each query."""
    query_keys, support_keys, row_steps, extent = _cell_keys(
        query_pos, support_pos, query_batch=query_batch, support_batch=support_batch, radius=radius
    )
    sorted_keys, rank = support_keys.sort()
    starts, lengths = _neighbour_ranges(query_keys, sorted_keys, row_steps=row_steps)
    candidate_count = _checked_total(lengths, extent)
    # From here on supports stand in the order of their cells; `rank` is their place in storage.
    cell_pos = support_pos[rank]
    found = [
        _search_part(
            query_pos,
            cell_pos,
            rank=rank,
            starts=starts,
            lengths=lengths,
            rows=rows,
            radius=radius,
            limit=limit,
        )
        for rows in _parts(lengths, candidate_count=candidate_count, most_candidates=most_candidates)
    ]
    pair_query, pair_support = (torch.cat(column) for column in zip(*found, strict=True))
    return pair_query, pair_support


def _shuffle(count: int, *, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Give a random order of `count` rows on `device`, drawn where the generator lives."""
    drawn_on = device if generator is None else generator.device
    return torch.randperm(count, generator=generator, device=drawn_on).to(device)


def _cell_keys(
    query_pos: Tensor, support_pos: Tensor, *, query_batch: Tensor, support_batch: Tensor, radius: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Number the cells so that neighbours along the last axis have neighbouring numbers.

    Returns:
        Keys (Q,) and (M,); row_steps (R,), the key differences to the neighbouring rows of cells; extent
        (D,), metres (its check waits until the host has to wait anyway).
    """
    query_count = query_pos.shape[0]
    pos = torch.cat([query_pos, support_pos]).double()
    # One empty cell on every side: a neighbour number can then never belong to another row or scan.
    pos = pos - pos.amin(dim=0)
    extent = pos.amax(dim=0)
    # Wider cells than needed only bring more candidates: so any extent fits into the bits of a key.
    cells = (pos / (extent / _MOST_CELLS).clamp(min=radius * _CELL_SLACK)).floor() + 1
    sizes = cells.amax(dim=0) + 2
    batch = torch.cat([query_batch, support_batch])
    keys = batch.long()
    for axis in range(pos.shape[1]):
        keys = keys * sizes[axis].long() + cells[:, axis].long()
    row_steps = torch.zeros(1, dtype=torch.int64, device=pos.device)
    around = torch.arange(-1, 2, device=pos.device)
    for axis in range(pos.shape[1] - 1):
        row_steps = (row_steps[:, None] + around).flatten() * sizes[axis + 1].long()
    return keys[:query_count], keys[query_count:], row_steps, extent


def _neighbour_ranges(query_keys: Tensor, sorted_keys: Tensor, *, row_steps: Tensor) -> tuple[Tensor, Tensor]:
    """Look up the supports of the cells around each query: three cells of a row are one range.

    Returns:
        starts (Q, R) and lengths (Q, R), int64.
    """
    middle = query_keys[:, None] + row_steps
    starts = torch.searchsorted(sorted_keys, middle - 1)
    return starts, torch.searchsorted(sorted_keys, middle + 1, right=True) - starts


def _checked_total(lengths: Tensor, extent: Tensor) -> int:
    """Read the number of candidates, and with it whether all positions were finite."""
    total, finite = torch.stack([lengths.sum(), extent.isfinite().all()]).tolist()
    if not finite:
        raise ValueError(
            "positions of queries or supports are not finite: leave such points out when reading"
        )
    return int(total)


def _parts(lengths: Tensor, *, candidate_count: int, most_candidates: int) -> Iterator[slice]:
    """Cut the queries into consecutive parts of at most `most_candidates` candidates each."""
    query_count = lengths.shape[0]
    if candidate_count <= most_candidates:
        yield slice(0, query_count)
        return
    ends = lengths.sum(dim=1).cumsum(dim=0).cpu()
    start, done = 0, 0
    while start < query_count:
        stop = int(torch.searchsorted(ends, done + most_candidates, right=True))
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])


def _search_part(
    query_pos: Tensor,
    cell_pos: Tensor,
    *,
    rank: Tensor,
    starts: Tensor,
    lengths: Tensor,
    rows: slice,
    radius: float,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """Enumerate the candidates of some queries, keep those within the radius, `limit` a query.

    Returns:
        pair_query (P,), rows of `query_pos`, sorted; pair_rank (P,), places in the shuffle.
    """
    starts, lengths = starts[rows].flatten(), lengths[rows].flatten()
    range_count = starts.shape[0] // (rows.stop - rows.start)
    ends = lengths.cumsum(dim=0)
    range_id = torch.repeat_interleave(lengths)
    support = (starts - ends + lengths).index_select(0, range_id)
    support += torch.arange(range_id.shape[0], device=rank.device)
    query = range_id.div_(range_count, rounding_mode="floor").add_(rows.start)
    squared = torch.zeros((), dtype=query_pos.dtype, device=query_pos.device)
    for axis in range(query_pos.shape[1]):
        apart = query_pos[:, axis].index_select(0, query) - cell_pos[:, axis].index_select(0, support)
        squared = squared + apart.square_()
    inside = (squared < radius * radius).nonzero().squeeze(1)
    query, support = query.index_select(0, inside), support.index_select(0, inside)
    return _keep_first(query, rank.index_select(0, support), support_count=rank.shape[0], limit=limit)


def _keep_first(query: Tensor, rank: Tensor, *, support_count: int, limit: int) -> tuple[Tensor, Tensor]:
    """Of each query's pairs (P,), sorted by query, keep the `limit` of lowest rank."""
    key = (query * support_count + rank).sort().values
    query = key.div(support_count, rounding_mode="floor")
    kept = torch.ones_like(query, dtype=torch.bool)
    # A pair is one too many exactly when the pair `limit` places before it belongs to the same query.
    kept[limit:] = query[limit:] != query[:-limit]
    key = key[kept]
    return query[kept], key - query[kept] * support_count
