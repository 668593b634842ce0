"""First stations of the data's way: one scan as it left its file, and several of them joined into a batch.

B scans, N points of the batch, M of other frames, n and m points of one scan.

Fields of a batch (later stations add to them; no station writes into the batch that it got):

| field | shape, dtype | meaning |
|---|---|---|
| `pos` | (N, 3) float32 | points in metres, in the sensor frame of the files, z up |
| `intensities` | (N, 1) float32 | return strength, scaled to [0, 1] by the reader |
| `y` | (N,) int64 | training label, 0 = ignored; only when labels were asked for |
| `sensor` | (B, 3) float32 | sensor origin of each scan, metres; its length is the number of scans |
| `batch` | (N,) int64 | scan of each point; rows of a scan are contiguous, scans in order |
| `query_pos` | (M, 3) float32 | points of neighbouring frames, if asked for, as the next three |
| `query_intensities` | (M, 1) float32 | their return strength |
| `query_origins` | (M, 3) float32 | where the sensor stood that measured each of them |
| `query_batch` | (M,) int64 | scan that each of them belongs to, ascending |
| `names` | B strings | one id a scan, for messages and submissions |
| `skipped` | at most B strings | files that were skipped as bad, with what was found; usually empty |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Batch: TypeAlias = dict[str, Any]


@dataclass(frozen=True, eq=False)
class OtherFrames:
    """m points of neighbouring frames of a scan's scene, moved into the scan's own frame.

    Attributes:
        pos: (m, 3) float32, metres.
        intensities: (m, 1) float32 in [0, 1].
        origins: (m, 3) float32, where the ray of each point starts: its own sensor, metres.
    """

    pos: NDArray[np.float32]
    intensities: NDArray[np.float32]
    origins: NDArray[np.float32]


NO_OTHER_FRAMES = OtherFrames(*(np.zeros((0, width), np.float32) for width in (3, 1, 3)))


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan of n points; n may be 0.

    Attributes:
        pos: (n, 3) float32, metres, sensor frame.
        intensities: (n, 1) float32 in [0, 1].
        sensor: (3,) float32, where the rays start, metres, same frame.
        name: The id of the scan in its data set, such as the path of its file below the root.
        labels: (n,) int64 training labels, 0 = ignored; None when they were not asked for.
        skipped: The file was bad; there are no points then.
        finding: What was wrong with a skipped file.
        others: Points of neighbouring frames; None when they were not asked for.
    """

    pos: NDArray[np.float32]
    intensities: NDArray[np.float32]
    sensor: NDArray[np.float32]
    name: str
    labels: NDArray[np.int64] | None = None
    skipped: bool = False
    finding: str = ""
    others: OtherFrames | None = None


def empty_scan(name: str, *, labelled: bool, finding: str) -> Scan:
    """Stand in for a file that was skipped: a scan without points that says what was wrong."""
    return Scan(
        pos=np.zeros((0, 3), np.float32),
        intensities=np.zeros((0, 1), np.float32),
        sensor=np.zeros(3, np.float32),
        name=name,
        labels=np.zeros(0, np.int64) if labelled else None,
        skipped=True,
        finding=finding,
    )


def collate(scans: Sequence[Scan]) -> Batch:
    """Join B scans into one batch, in their order; scans without points keep their place.

    Args:
        scans: At least one scan; all of them labelled, or none.

    Returns:
        The fields of the table above, on the CPU, in memory of their own.

    Raises:
        ValueError: No scans, or labelled and unlabelled ones mixed.
    """
    labels = check_labels(scans)
    counts = np.array([len(scan.pos) for scan in scans])
    batch: Batch = {
        "pos": torch.from_numpy(np.concatenate([scan.pos for scan in scans])),
        "intensities": torch.from_numpy(np.concatenate([scan.intensities for scan in scans])),
        "sensor": torch.from_numpy(np.stack([scan.sensor for scan in scans])),
        "batch": torch.from_numpy(np.repeat(np.arange(len(scans), dtype=np.int64), counts)),
        "names": [scan.name for scan in scans],
        "skipped": [scan.finding or scan.name for scan in scans if scan.skipped],
    }
    if labels:
        batch["y"] = torch.from_numpy(np.concatenate(labels))
    if any(scan.others for scan in scans):
        batch |= _join_others([scan.others or NO_OTHER_FRAMES for scan in scans])
    return batch


def check_labels(scans: Sequence[Scan]) -> list[NDArray[np.int64]]:
    """The labels of a batch's scans; none when they were not asked for.

    Raises:
        ValueError: No scans, or labelled and unlabelled ones mixed.
    """
    if not scans:
        raise ValueError("A batch needs at least one scan, got none.")
    labels = [scan.labels for scan in scans if scan.labels is not None]
    if labels and len(labels) != len(scans):
        bare = next(scan.name for scan in scans if scan.labels is None)
        raise ValueError(f"{bare} has no labels, others of its batch do: ask for labels for all or none.")
    return labels


def _join_others(others: Sequence[OtherFrames]) -> Batch:
    counts = np.array([len(points.pos) for points in others])
    return {
        "query_pos": torch.from_numpy(np.concatenate([points.pos for points in others])),
        "query_intensities": torch.from_numpy(np.concatenate([points.intensities for points in others])),
        "query_origins": torch.from_numpy(np.concatenate([points.origins for points in others])),
        "query_batch": torch.from_numpy(np.repeat(np.arange(len(others), dtype=np.int64), counts)),
    }
