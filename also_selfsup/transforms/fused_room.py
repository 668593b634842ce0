"""The transforms on a GPU, their memory: what they are asked for, and where what comes out of them lies.

B scans, N points, T points of the network's input in P places, Q queries, V voxels, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.cells import CellSize
from also_selfsup.transforms.features import INPUTS, channel_count
from also_selfsup.transforms.pending import Piece

# Rows of a field begin at 16 bytes: kernels further on are compiled for that.
ROUND = 4
# Which of the sizes is a field's: of T, Q and V.
POINTS, QUERIES, VOXELS = range(3)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the steps need to know.

    Attributes:
        grid_size: Cell of the decimation in metres.
        most_points: Most input points of a scan; None takes all.
        queries: Queries of a scan; 0 draws none.
        distance: Most metres of a query from its point.
        rotation: Rotate about z.
        flip: Mirror in x, every second scan.
        inputs: Fields of a point that the network sees, names of `features.INPUTS`.
        voxel_size: Edge of the voxels in metres, or one for each of x, y, z; None makes no voxels.
    """

    grid_size: CellSize
    most_points: int | None
    inputs: Sequence[str]
    voxel_size: CellSize | None
    queries: int = 0
    distance: float = 0.0
    rotation: bool = False
    flip: bool = False

    def largest(self, batch: Batch) -> int:
        """Most input points that a scan of this batch can have."""
        count = len(batch["pos"])
        return count if self.most_points is None else min(self.most_points, count)

    def channels_of(self, field: str) -> int:
        """At which channels of the inputs a field begins, a bit each."""
        bits, channel = 0, 0
        for name in self.inputs:
            bits |= (name == field) << channel
            channel += INPUTS[name]
        return bits


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What decimation kept: rows in lists of N places, filled by scan."""

    lists: Tensor  # (2, N) int32: of the points kept, and of those among them that have a ray
    tables: Tensor  # int32, see fused_kernels: (14, L), then sums of blocks
    width: int  # L
    counts: Tensor  # (3,) int64: T, Q, and V, which is 0 until it is known


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the results are written to, and how it is divided: see `fused_points`."""

    floats: Tensor  # float32
    whole: Tensor  # int64
    places: int  # P
    queries: int  # places for queries
    channels: int  # C
    voxels: bool

    @classmethod
    def of(cls, batch: Batch, recipe: Recipe) -> Room:
        """For all that may come out of a batch.

        Raises:
            ValueError: An input is unknown, or there is none.
        """
        pos, scan_count = batch["pos"], len(batch["sensor"])
        places = _rounded(min(len(pos), recipe.largest(batch) * scan_count))
        queries, channels = _rounded(recipe.queries * scan_count), channel_count(recipe.inputs)
        voxels = recipe.voxel_size is not None
        floats = (4 + (1 + voxels) * channels) * places + 4 * queries + 3 * scan_count
        whole = (1 + 2 * voxels) * places + 2 * queries
        return cls(
            floats=torch.empty(floats, dtype=pos.dtype, device=pos.device),
            whole=torch.empty(whole, dtype=torch.int64, device=pos.device),
            places=places,
            queries=queries,
            channels=channels,
            voxels=voxels,
        )

    def pieces(self) -> dict[str, Piece]:
        """The fields of points, queries and voxels."""
        floats, whole, places, channels = self.floats, self.whole, self.places, self.channels
        found = {
            "pos": Piece(floats, 0, 3, POINTS),
            "intensities": Piece(floats, 3 * places, 1, POINTS),
            "x": Piece(floats, 4 * places, channels, POINTS),
            "batch": Piece(whole, 0, None, POINTS),
        }
        float_end, whole_end = (4 + channels) * places, places
        if self.voxels:
            found["voxel_x"] = Piece(floats, float_end, channels, VOXELS)
            found["voxel_to_pc_id"] = Piece(whole, places, None, POINTS)
            found["voxel_coords_batch"] = Piece(whole, 2 * places, None, VOXELS)
            float_end, whole_end = float_end + channels * places, 3 * places
        if self.queries:
            found["pos_non_manifold"] = Piece(floats, float_end, 3, QUERIES)
            found["intensities_non_manifold"] = Piece(floats, float_end + 3 * self.queries, 1, QUERIES)
            found["pos_non_manifold_batch"] = Piece(whole, whole_end, None, QUERIES)
            found["occupancies"] = Piece(whole, whole_end + self.queries, None, QUERIES)
        return found

    def sensor(self, scan_count: int) -> Tensor:
        """(B, 3), behind all other floats."""
        return self.floats.as_strided((scan_count, 3), (3, 1), self.floats.shape[0] - 3 * scan_count)


def _rounded(count: int) -> int:
    return -(-count // ROUND) * ROUND
