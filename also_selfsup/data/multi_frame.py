"""Beside a scan: points of the frames before and behind it, moved into its frame, for more queries.

n points of one scan, m points of its neighbours.
"""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.scan import NO_OTHER_FRAMES, OtherFrames, Scan


class Neighbour(NamedTuple):
    """A neighbouring frame: its file, relative to the root, and the motion (4, 4) from its sensor frame."""

    file: str
    motion: NDArray[np.float64]


class MultiFrameDataset(LidarDataset):
    """A data set that knows where its sensor stood in each frame.

    Args:
        root: See `LidarDataset`, as for all arguments but the last.
        split: See `LidarDataset`.
        labels: See `LidarDataset`; with labels no neighbour is read.
        skip_ratio: See `LidarDataset`; neighbours are those of the recording, whatever is skipped.
        on_bad_scan: See `LidarDataset`; a bad neighbour makes a scan bad.
        min_range: See `LidarDataset`; of a neighbour's points, the distance from their own sensor.
        intensity_scale: See `LidarDataset`.
        query_frames: So many frames before, and as many behind, give points for queries; 0 for none.
    """

    options = ("query_frames",)

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        labels: bool = False,
        skip_ratio: int = 1,
        on_bad_scan: str = "raise",
        min_range: float = 0.01,
        intensity_scale: float | None = None,
        query_frames: int = 0,
    ) -> None:
        if query_frames < 0:
            raise ValueError(f"query_frames is {query_frames}, at least 0.")
        self.query_frames = 0 if labels else query_frames
        super().__init__(
            root,
            split,
            labels=labels,
            skip_ratio=skip_ratio,
            on_bad_scan=on_bad_scan,
            min_range=min_range,
            intensity_scale=intensity_scale,
        )

    @abstractmethod
    def neighbours(self, index: int, count: int) -> list[Neighbour]:
        """The frames of the same recording at most `count` before or behind a frame, that are on disk."""

    def _read(self, index: int) -> Scan:
        scan = super()._read(index)
        if self.query_frames == 0:
            return scan
        parts = [self._moved(frame) for frame in self.neighbours(index, self.query_frames)]
        if not parts:
            return replace(scan, others=NO_OTHER_FRAMES)
        return replace(scan, others=OtherFrames(*map(np.concatenate, zip(*parts, strict=True))))

    def _moved(self, frame: Neighbour) -> tuple[NDArray[np.float32], ...]:
        """Positions, intensities and ray origins of a neighbour's points, in the frame of the scan."""
        pos, intensities = self.read_scaled(self.root / frame.file)
        kept = np.square(pos).sum(axis=1) >= np.float32(self.min_range) ** 2
        rotation, translation = frame.motion[:3, :3], frame.motion[:3, 3]
        moved = pos[kept].astype(np.float64) @ rotation.T + translation
        origins = np.broadcast_to(translation.astype(np.float32), moved.shape)
        return moved.astype(np.float32), intensities[kept], origins
