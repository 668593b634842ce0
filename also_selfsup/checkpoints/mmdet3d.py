"""Between pre-training and mmdet3d (1.x): SECOND's and MinkUNet's weights under its names.

mmdet3d takes the layout of spconv 1.x from a file without version numbers, and turns it itself where it runs
on spconv 2.x; its files from there have the other layout, and both are read. MinkUNet is that of its
torchsparse backend, whose kernels are laid out as ours.
"""

from collections.abc import Mapping

from torch import Tensor

from also_selfsup.checkpoints.naming import State, rename, some
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.checkpoints.second import split_backbone, to_layout

SPCONV = 1  # layout of the sparse kernels that we write

# Starts of names: ours, mmdet3d's.
SECOND_NAMES = {
    "backbone_3d.conv_input.": "middle_encoder.conv_input.",
    **{f"backbone_3d.conv{n}.": f"middle_encoder.encoder_layers.encoder_layer{n}." for n in range(1, 5)},
    "backbone_3d.conv_out.": "middle_encoder.conv_out.",
    # OpenPCDet pads in a module of its own, number 0 of a block; mmdet3d within the convolution.
    **{
        f"backbone_2d.blocks.{block}.{n}.": f"backbone.blocks.{block}.{n - 1}."
        for block in range(2)
        for n in range(1, 18)
    },
    "backbone_2d.deblocks.": "neck.deblocks.",
}
MINKUNET_NAMES = {
    **{
        f"stem.{3 * conv + n}.": f"backbone.conv_input.{conv}.net.{n}." for conv in range(2) for n in range(2)
    },
    **{f"stage{n}.": f"backbone.encoder.{n - 1}." for n in range(1, 5)},
    **{f"up{n}.": f"backbone.decoder.{n - 1}." for n in range(1, 5)},
    "point_transforms.": "backbone.point_transforms.",
}


def write_second(state: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """SECOND's backbone as `middle_encoder`, `backbone` and `neck`, and the names of what has no place.

    Raises:
        CheckpointError: A weight of the backbone is missing, or a kernel has no known layout.
    """
    backbone, left_out = split_backbone(state)
    renamed, _ = rename(to_layout(backbone, SPCONV), SECOND_NAMES)
    return renamed, left_out


def read_second(table: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """The inverse of `write_second`, also of a whole detector: its heads are left out.

    Raises:
        CheckpointError: As `write_second`.
    """
    renamed, left_out = rename(table, _swapped(SECOND_NAMES))
    backbone, more = split_backbone(renamed)
    return to_layout(backbone, 2), (*left_out, *more)


def write_minkunet(state: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """MinkUNet or SPVCNN as `backbone`, and the names of what has no place (the classifier).

    Raises:
        CheckpointError: The stem has one convolution: mmdet3d's has two.
    """
    if "stem.3.kernel" not in state:
        raise CheckpointError(
            "mmdet3d's MinkUNetBackbone begins with two convolutions, these weights with one; of our "
            "networks MinkUNet18SC, SPVCNN and SPVCNN0p5 fit."
        )
    return rename(state, MINKUNET_NAMES)


def read_minkunet(table: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """The inverse of `write_minkunet`, also of a whole segmentor: its head is left out.

    Raises:
        CheckpointError: It was trained with another backend than torchsparse.
    """
    renamed, left_out = rename(table, _swapped(MINKUNET_NAMES))
    if "stem.0.kernel" not in renamed:
        raise CheckpointError(
            f"mmdet3d's MinkUNet of another backend than torchsparse (its names: {some(list(table))}); "
            "only that of torchsparse has weights that correspond one by one."
        )
    return renamed, left_out


def _swapped(names: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}
