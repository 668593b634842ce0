"""From settings to what a task is made of: its transforms and its network."""

from also_selfsup.networks import (
    Backbone,
    Encoder,
    build_backbone,
    checkpoint_blocks,
    deepen_classifier,
)
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.schema import Settings
from also_selfsup.transforms.features import channel_count
from also_selfsup.transforms.pipeline import PretrainingTransforms, SegmentationTransforms


def network_of(settings: Settings, *, out_channels: int) -> Encoder:
    """The backbone of the settings with so many outputs a point, or a cell of a bird's-eye view."""
    network = settings.network
    net = build_backbone(
        network.backbone,
        in_channels=channel_count(settings.inputs),
        out_channels=out_channels,
        framework=network.framework,
        voxel_size=network.voxel_size,
        extent=network.extent,
        bev_centres=network.bev_centres,
    )
    if settings.trainer.cuda_graphs:
        net.backend.record()
    if settings.trainer.checkpoint_activations:
        checkpoint_blocks(net)
    return net


def segmentation_network(settings: Settings, *, class_count: int) -> Backbone:
    """The backbone of the settings with an output a class for each point.

    Raises:
        SettingsError: It is a backbone for detection, which answers for cells instead of points.
    """
    net = network_of(settings, out_channels=class_count)
    if not isinstance(net, Backbone):
        raise SettingsError(
            f"cfg.network.backbone={settings.network.backbone}: a backbone for object detection, whose "
            "outputs belong to cells of a bird's-eye view, not to points: it cannot be fine-tuned for "
            "segmentation. Hand its weights to a detector with convert_models.py, or take another recipe."
        )
    return deepen_classifier(net) if settings.downstream.probe_hidden else net


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
        extent=settings.network.extent,
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
