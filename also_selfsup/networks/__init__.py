"""The networks by name: backbones (voxels to latents) and the pretext decoder (latents to occupancy)."""

from collections.abc import Callable, Sequence
from typing import Any

from also_selfsup.networks.activation_checkpointing import checkpoint_blocks
from also_selfsup.networks.backbone import (
    Backbone,
    Encoder,
    deepen_classifier,
    freeze_but_classifier,
    replace_classifier,
)
from also_selfsup.networks.interpnet import InterpNet
from also_selfsup.networks.minkunet import MinkUNet18, MinkUNet18SC, MinkUNet34
from also_selfsup.networks.second import SECOND
from also_selfsup.networks.spvcnn import SPVCNN, SPVCNN0p5
from also_selfsup.settings.names import UserError, choose

BACKBONES: dict[str, type[Encoder]] = {
    network.__name__: network for network in (MinkUNet18, MinkUNet18SC, MinkUNet34, SECOND, SPVCNN, SPVCNN0p5)
}
DECODERS: dict[str, type[InterpNet]] = {"InterpNet": InterpNet}


def build_backbone(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    framework: str = "native",
    voxel_size: float | Sequence[float] | None = None,
    extent: Sequence[float] | None = None,
    bev_centres: str = "exact",
) -> Encoder:
    """Build a backbone by its name in `BACKBONES`.

    Args:
        name: the network.
        in_channels: channels of `voxel_x`.
        out_channels: latents, or classes, per point (per cell of a bird's-eye view).
        framework: sparse-convolution library, a name in `sparseconv.BACKENDS` or "auto".
        voxel_size: metres, one number or three; only bird's-eye-view backbones ask.
        extent: six numbers, [x_min, y_min, z_min, x_max, y_max, z_max] in metres, that a bird's-eye-view
            backbone sees; the others have none.
        bev_centres: "exact" or "published", where the latents of its cells lie (`SECOND`).

    Raises:
        ValueError: there is no such backbone or library (the message lists those there are), or the extent
            and the backbone do not fit.
    """
    network = choose(BACKBONES, name, "cfg.network.backbone")
    options: dict[str, Any] = {"framework": framework}
    if not network.birds_eye and extent is not None:
        raise UserError(f"cfg.network.extent={list(extent)}: {name} sees all points; leave the extent out.")
    if network.birds_eye:
        if extent is None or voxel_size is None:
            raise UserError(
                f"cfg.network.extent={extent}, cfg.network.voxel_size={voxel_size}: {name} needs the extent "
                "of its bird's-eye view, [x_min, y_min, z_min, x_max, y_max, z_max], and the voxels' size."
            )
        options |= {"voxel_size": voxel_size, "extent": extent, "bev_centres": bev_centres}
    build: Callable[..., Encoder] = network
    return build(in_channels, out_channels, **options)


def build_decoder(
    name: str,
    *,
    latent_size: int,
    out_channels: int = 2,
    radius: float = 1.0,
    column_search: bool = False,
) -> InterpNet:
    """Build a decoder by its name in `DECODERS`.

    Args:
        name: the network.
        latent_size: length of a latent.
        out_channels: 2 for occupancy and intensity, 1 for occupancy alone.
        radius: metres between query and support.
        column_search: measure that distance in x, y only.

    Raises:
        ValueError: there is no such decoder; the message lists those there are.
    """
    decoder = choose(DECODERS, name, "cfg.network.decoder")
    return decoder(latent_size, out_channels, radius=radius, column_search=column_search)


__all__ = [
    "BACKBONES",
    "DECODERS",
    "Backbone",
    "Encoder",
    "InterpNet",
    "build_backbone",
    "build_decoder",
    "checkpoint_blocks",
    "deepen_classifier",
    "freeze_but_classifier",
    "replace_classifier",
]
