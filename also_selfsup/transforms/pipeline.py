"""The transforms of a task in their order: from a collated batch to queries and voxels, on its device.

B scans, N points, V voxels, Q queries. Nothing loops over scans or points, all random numbers come from the
generator given. On a GPU with Triton the sizes of the results come to the host in one read, which `begin`
leaves for later; elsewhere they are read once after decimation, once for the queries, once for the voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.augmentation import augment
from also_selfsup.transforms.cells import CellSize
from also_selfsup.transforms.features import point_features
from also_selfsup.transforms.fused import fusible, launch
from also_selfsup.transforms.fused_room import Recipe
from also_selfsup.transforms.occupancy import generate_queries
from also_selfsup.transforms.pending import Pending, finished
from also_selfsup.transforms.query_source import query_source, without_other_frames
from also_selfsup.transforms.range_voxels import voxelize_range
from also_selfsup.transforms.thinning import decimate, select, thin
from also_selfsup.transforms.voxelization import voxelize


@dataclass(frozen=True, kw_only=True)
class PretrainingTransforms:
    """Decimate, draw queries, thin, augment, give inputs, voxelise.

    Attributes:
        grid_size: Cell of the decimation in metres; 0 keeps all points.
        manifold_points: Most input points of a scan; None takes all.
        non_manifold_points: Queries of a scan.
        query_distance: Queries lie at most this far (metres) before or behind their point.
        voxel_size: Edge of the voxels in metres, one number or three.
        inputs: Fields of a point that the network sees, names of `features.INPUTS`.
        rotation: Rotate training scans about z.
        flip: Mirror training scans in x, every second one.
        extent: Box of the voxels for bird's-eye-view backbones, six numbers in metres; None voxelises all.
    """

    grid_size: CellSize
    manifold_points: int | None
    non_manifold_points: int
    query_distance: float
    voxel_size: CellSize
    inputs: Sequence[str]
    rotation: bool = True
    flip: bool = True
    extent: Sequence[float] | None = None

    def __call__(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Batch:
        """Apply them; validation (`training` false) is not augmented.

        Args:
            batch: As collated, moved to the generator's device.
            generator: Of this step (`randomness.step_generator`).
            training: Rotate and flip.

        Returns:
            The batch with its points thinned, and the fields of queries, inputs and voxels (doc/data.md).
        """
        return self.begin(batch, generator, training=training).result()

    def begin(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Pending:
        """The same, the result still under way where that is possible: on a GPU nothing has waited yet."""
        if not fusible(batch, grid_size=self.grid_size):
            return finished(self._in_turn(batch, generator, training=training))
        recipe = Recipe(
            grid_size=self.grid_size,
            most_points=self.manifold_points,
            queries=self.non_manifold_points,
            distance=self.query_distance,
            rotation=training and self.rotation,
            flip=training and self.flip,
            inputs=self.inputs,
            voxel_size=self.voxel_size if self.extent is None else None,
        )
        if self.extent is None:
            return launch(batch, recipe, generator=generator)
        box = partial(_voxelized_range, voxel_size=self.voxel_size, extent=self.extent)
        return launch(batch, recipe, generator=generator, finish=box)

    def _in_turn(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Batch:
        scan_count = batch["sensor"].shape[0]
        ids, sizes = decimate(batch["pos"], batch["batch"], size=self.grid_size, scan_count=scan_count)
        batch = select(batch, ids)
        queries = generate_queries(
            query_source(batch, size=self.grid_size),
            count=self.non_manifold_points,
            distance=self.query_distance,
            generator=generator,
        )
        ids = thin(batch["batch"], sizes=sizes, count=self.manifold_points, generator=generator)
        batch = {**select(without_other_frames(batch), ids), **queries}
        if training:
            batch = augment(batch, rotation=self.rotation, flip=self.flip, generator=generator)
        batch["x"] = point_features(batch, self.inputs)
        if self.extent is not None:
            return _voxelized_range(batch, voxel_size=self.voxel_size, extent=self.extent)
        return {**batch, **voxelize(batch, voxel_size=self.voxel_size)}


@dataclass(frozen=True, kw_only=True)
class SegmentationTransforms:
    """Decimate, thin, augment, give inputs, voxelise; labels go along.

    Attributes:
        grid_size: Cell of the decimation in metres; 0 keeps all points.
        manifold_points: Most input points of a scan; None takes all.
        voxel_size: Edge of the voxels in metres, one number or three.
        inputs: Fields of a point that the network sees, names of `features.INPUTS`.
        rotation: Rotate training scans about z.
        flip: Mirror training scans in x, every second one.
    """

    grid_size: CellSize
    manifold_points: int | None
    voxel_size: CellSize
    inputs: Sequence[str]
    rotation: bool = True
    flip: bool = True

    def __call__(
        self, batch: Batch, generator: torch.Generator, *, training: bool, keep_original: bool = False
    ) -> Batch:
        """Apply them; evaluation (`training` false) is not augmented.

        Args:
            batch: As collated, moved to the generator's device.
            generator: Of this step (`randomness.step_generator`).
            training: Rotate and flip.
            keep_original: Answer also every point as it came: `original_pos`, `original_batch`, and
                `original_y` where there are labels.

        Returns:
            The batch with its points thinned, and the fields of inputs and voxels (doc/data.md).

        Raises:
            ValueError: Original points are asked for in training, where the others are moved away from them.
        """
        if training and keep_original:
            raise ValueError("keep_original=True needs training=False: augmented points lie elsewhere.")
        names = [name for name in ("pos", "batch", "y") if keep_original and name in batch]
        original = {f"original_{name}": batch[name] for name in names}
        return {**self.begin(batch, generator, training=training).result(), **original}

    def begin(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Pending:
        """The same, the result still under way where that is possible: on a GPU nothing has waited yet."""
        if not fusible(batch, grid_size=self.grid_size):
            return finished(self._in_turn(batch, generator, training=training))
        recipe = Recipe(
            grid_size=self.grid_size,
            most_points=self.manifold_points,
            rotation=training and self.rotation,
            flip=training and self.flip,
            inputs=self.inputs,
            voxel_size=self.voxel_size,
        )
        return launch(batch, recipe, generator=generator)

    def _in_turn(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Batch:
        index, scan_count = batch["batch"], batch["sensor"].shape[0]
        ids, sizes = decimate(batch["pos"], index, size=self.grid_size, scan_count=scan_count)
        kept = thin(index.index_select(0, ids), sizes=sizes, count=self.manifold_points, generator=generator)
        batch = select(batch, ids.index_select(0, kept))
        if training:
            batch = augment(batch, rotation=self.rotation, flip=self.flip, generator=generator)
        batch["x"] = point_features(batch, self.inputs)
        return {**batch, **voxelize(batch, voxel_size=self.voxel_size)}


def _voxelized_range(batch: Batch, *, voxel_size: CellSize, extent: Sequence[float]) -> Batch:
    return {**batch, **voxelize_range(batch, voxel_size=voxel_size, extent=extent)}
