"""The networks by name: backbones (voxels to latents) and the pretext decoder (latents to occupancy)."""

from collections.abc import Callable, Sequence

from also_selfsup.networks.backbone import Backbone, freeze_but_classifier, replace_classifier
from also_selfsup.networks.interpnet import InterpNet
from also_selfsup.networks.minkunet import MinkUNet18, MinkUNet18SC, MinkUNet34
from also_selfsup.networks.spvcnn import SPVCNN, SPVCNN0p5
from also_selfsup.settings.names import choose

BACKBONES: dict[str, Callable[..., Backbone]] = {
    network.__name__: network for network in (MinkUNet18, MinkUNet18SC, MinkUNet34, SPVCNN, SPVCNN0p5)
}
DECODERS: dict[str, type[InterpNet]] = {"InterpNet": InterpNet}


def build_backbone(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    framework: str = "native",
    voxel_size: float | Sequence[float] | None = None,
) -> Backbone:
    """Build a backbone by its name in `BACKBONES`.

    Args:
        name: the network.
        in_channels: channels of `voxel_x`.
        out_channels: latents, or classes, per point.
        framework: sparse-convolution library, a name in `sparseconv.BACKENDS` or "auto".
        voxel_size: metres, one number or three; the networks here see cells only and do not ask.

    Raises:
        ValueError: there is no such backbone or library; the message lists those there are.
    """
    return choose(BACKBONES, name, "cfg.network.backbone")(in_channels, out_channels, framework=framework)


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
    "InterpNet",
    "build_backbone",
    "build_decoder",
    "freeze_but_classifier",
    "replace_classifier",
]
