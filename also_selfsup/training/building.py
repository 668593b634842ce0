"""From settings to what a task is made of: its transforms and its network."""

from also_selfsup.networks import Backbone, build_backbone
from also_selfsup.settings.schema import Settings
from also_selfsup.transforms.features import channel_count
from also_selfsup.transforms.pipeline import PretrainingTransforms, SegmentationTransforms


def network_of(settings: Settings, *, out_channels: int) -> Backbone:
    """The backbone of the settings with so many outputs a point."""
    network = settings.network
    return build_backbone(
        network.backbone,
        in_channels=channel_count(settings.inputs),
        out_channels=out_channels,
        framework=network.framework,
        voxel_size=network.voxel_size,
    )


def pretraining_transforms(settings: Settings) -> PretrainingTransforms:
    """Decimation, queries, thinning, augmentation, inputs, voxels."""
    return PretrainingTransforms(
        grid_size=settings.transforms.grid_size,
        manifold_points=settings.manifold_points,
        non_manifold_points=settings.non_manifold_points,
        query_distance=settings.transforms.query_distance,
        voxel_size=settings.network.voxel_size,
        inputs=tuple(settings.inputs),
        rotation=settings.transforms.rotation,
        flip=settings.transforms.flip,
    )


def segmentation_transforms(settings: Settings) -> SegmentationTransforms:
    """Decimation, thinning, augmentation, inputs, voxels."""
    return SegmentationTransforms(
        grid_size=settings.transforms.grid_size,
        manifold_points=settings.manifold_points,
        voxel_size=settings.network.voxel_size,
        inputs=tuple(settings.inputs),
        rotation=settings.transforms.rotation,
        flip=settings.transforms.flip,
    )
