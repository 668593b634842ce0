"""Tools of all transforms: sort, count and pick rows of a batch without a loop over scans or points.

Sizes that depend on the data are read by the host in one place, `read_sizes`; on a GPU nothing else waits.

B scans, N rows (points) of the batch, K rows kept.
"""

import numpy as np
import torch
from torch import Tensor


def on_cpu(device: torch.device) -> bool:
    """Whether reading a tensor of `device` costs nothing, and numpy may work on it."""
    return device.type == "cpu"


def scan_starts(batch: Tensor, scan_count: int) -> Tensor:
    """First row of each scan, and N at the end: (B + 1,) int64, from the sorted scan index `batch` (N,)."""
    return torch.searchsorted(batch, torch.arange(scan_count + 1, device=batch.device))


def count_per_scan(marks: Tensor, starts: Tensor) -> Tensor:
    """Number of true `marks` (N,) in each scan: (B,) int64; rows of scan b begin at `starts[b]` (B + 1,)."""
    totals = starts.new_zeros(marks.shape[0] + 1)
    running_count(marks, out=totals[1:])
    return totals.index_select(0, starts).diff()


def running_count(marks: Tensor, *, out: Tensor | None = None) -> Tensor:
    """How many `marks` (N,) are true up to and with each row: (N,) int64."""
    # A byte view: torch sums booleans ten times slower than bytes on the CPU.
    return torch.cumsum(marks.view(torch.uint8), 0, dtype=torch.int64, out=out)


def read_sizes(sizes: Tensor) -> list[int]:
    """Bring sizes (B,) to the host: the only wait of the transforms on a GPU."""
    numbers: list[int] = sizes.tolist()
    return numbers


def marked_rows(marks: Tensor, starts: Tensor) -> tuple[Tensor, list[int]]:
    """Rows at which `marks` (N,) is true, ascending: (K,) int64; and how many in each scan. One read.

    Args:
        marks: (N,) bool.
        starts: (B + 1,) int64, first row of each scan, and N.
    """
    if on_cpu(marks.device):
        rows = torch.from_numpy(np.flatnonzero(marks.numpy()))
        return rows, torch.searchsorted(rows, starts).diff().tolist()
    sizes = read_sizes(count_per_scan(marks, starts))
    # torch.nonzero would wait for a size of its own; here false rows go to one slot past the end.
    total = sum(sizes)
    slots = torch.where(marks, running_count(marks) - 1, total)
    rows = torch.arange(marks.shape[0], device=marks.device)
    return slots.new_empty(total + 1).scatter_(0, slots, rows)[:total], sizes


def take_rows(values: Tensor, ids: Tensor) -> Tensor:
    """Rows `ids` (K,) of `values` (N,) or (N, C): what indexing gives, several times faster on a CPU."""
    if values.dim() == 1:
        return values.index_select(0, ids)
    if values.shape[1] == 1:
        return values.view(-1).index_select(0, ids).view(-1, 1)
    return values.gather(0, ids[:, None].expand(-1, values.shape[1]))


def leading_rows(starts: Tensor, taken: Tensor, total: int) -> Tensor:
    """Rows `starts[b]` to `starts[b] + taken[b] - 1` of every scan, one scan after the other.

    Args:
        starts: (B,) int64, first row of each scan.
        taken: (B,) int64, how many rows to take of each.
        total: Their sum, known to the host.

    Returns:
        (total,) int64.
    """
    shifts = starts - (taken.cumsum(0) - taken)
    rows = torch.arange(total, device=starts.device)
    return rows + shifts.repeat_interleave(taken, output_size=total)


def spare_bits(count: int, *, upper: int) -> int:
    """Bits left in a sort key of `count` rows beside values below `upper` and the row number."""
    return max(62 - count.bit_length() - upper.bit_length(), 1)


def sort_rows(keys: Tensor, *, bound: int) -> tuple[Tensor, Tensor]:
    """Sort rows by key; rows of equal keys keep their order.

    Args:
        keys: (N,) int64, overwritten.
        bound: Larger than every absolute key; at most 2**63.

    Returns:
        The sorted keys (N,) and the row of each (N,) int64.
    """
    row_bits = max(keys.shape[0] - 1, 1).bit_length()
    if not on_cpu(keys.device) or bound << row_bits > 1 << 63:
        return torch.sort(keys, stable=True)
    # Row numbers in the low bits make the keys distinct, so that values alone need sorting: numpy's
    # vectorised sort of int64 takes 18 ns a row where torch's takes 130 and an argsort 65.
    packed = torch.arange(keys.shape[0]).add_(keys, alpha=1 << row_bits)
    packed.numpy().sort()
    torch.bitwise_right_shift(packed, row_bits, out=keys)
    return keys, packed.bitwise_and_((1 << row_bits) - 1)
