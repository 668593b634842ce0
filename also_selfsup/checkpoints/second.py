"""Behind training SECOND: the weights of its backbone, and the two layouts that spconv gave their kernels.

Names and shapes are OpenPCDet's (VoxelBackBone8x and BaseBEVBackbone of its `second.yaml`), which SECOND and
PV-RCNN share. Letters: I input channels, O output channels, k edges of a kernel.

| spconv | kernel |
|---|---|
| 2.x | (O, kz, ky, kx, I) |
| 1.x | (kz, ky, kx, I, O) |
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from also_selfsup.checkpoints.naming import State, some
from also_selfsup.checkpoints.reading import CheckpointError

Shape = tuple[int, ...]
PREFIXES = ("backbone_3d.", "backbone_2d.")
PUBLISHED_PREFIX = "model."  # before all of SECOND's names in the published ALSO checkpoints

# Name of each stage, its input and output channels, its convolutions.
_STAGES_3D = (("conv1", 16, 16, 1), ("conv2", 16, 32, 3), ("conv3", 32, 64, 3), ("conv4", 64, 64, 3))
# Input and output channels of the two blocks of six convolutions on the bird's-eye view, and of what follows
# each: a transposed convolution of stride 1 and of stride 2.
_BLOCKS_2D = ((256, 128), (128, 256))
_CONVS_2D, _UPSAMPLED = 6, 256


def _kernels() -> dict[str, Shape]:
    """Shape of every convolution's weight, by the module's name."""
    shapes: dict[str, Shape] = {"backbone_3d.conv_input.0": (16, 3, 3, 3, 4)}
    for stage, first, channels, count in _STAGES_3D:
        for index in range(count):
            inputs = channels if index else first
            shapes[f"backbone_3d.{stage}.{index}.0"] = (channels, 3, 3, 3, inputs)
    shapes["backbone_3d.conv_out.0"] = (128, 3, 1, 1, 64)
    for block, (first, channels) in enumerate(_BLOCKS_2D):
        for index in range(_CONVS_2D):
            # Number 0 pads, then convolution, norm and ReLU take turns.
            inputs = channels if index else first
            shapes[f"backbone_2d.blocks.{block}.{3 * index + 1}"] = (channels, inputs, 3, 3)
    for block, (_, channels) in enumerate(_BLOCKS_2D):
        stride = block + 1
        shapes[f"backbone_2d.deblocks.{block}.0"] = (channels, _UPSAMPLED, stride, stride)
    return shapes


def _all_shapes() -> dict[str, Shape]:
    """Shapes by name, in the order of the network: each convolution, then its norm, one number further."""
    shapes: dict[str, Shape] = {}
    for name, shape in _kernels().items():
        parent, _, number = name.rpartition(".")
        norm = f"{parent}.{int(number) + 1}"
        channels = shape[1] if ".deblocks." in name else shape[0]
        shapes[f"{name}.weight"] = shape
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{entry}"] = (channels,)
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


SHAPES = _all_shapes()
KERNEL_SIZES = {name: shape[1:4] for name, shape in SHAPES.items() if len(shape) == 5}


def is_second(names: Iterable[str]) -> bool:
    """Whether weights are those of SECOND, by their names, with or without `model.` before them."""
    return any(name.removeprefix(PUBLISHED_PREFIX).startswith(PREFIXES) for name in names)


def plain_names(state: Mapping[str, Tensor]) -> State:
    """The weights without the `model.` that published checkpoints have before SECOND's names."""
    return {name.removeprefix(PUBLISHED_PREFIX): tensor for name, tensor in state.items()}


def split_backbone(state: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """The backbone's 156 weights, in the network's order, and the names of what else there is (heads).

    Raises:
        CheckpointError: One of the 156 is missing: another network.
    """
    missing = [name for name in SHAPES if name not in state]
    if missing:
        raise CheckpointError(
            f"{len(missing)} of the {len(SHAPES)} weights of SECOND's backbone are missing "
            f"({some(missing)}): another network (PointPillars, a residual backbone?) or part of one; "
            "take one with VoxelBackBone8x and BaseBEVBackbone, such as SECOND or PV-RCNN."
        )
    return {name: state[name] for name in SHAPES}, tuple(name for name in state if name not in SHAPES)


def to_layout(state: Mapping[str, Tensor], spconv: int) -> State:
    """The weights with their sparse kernels in the layout of spconv 1.x or 2.x, whichever they have.

    Raises:
        CheckpointError: A kernel has neither layout.
    """
    found = layout(state)
    order = {(2, 1): (1, 2, 3, 4, 0), (1, 2): (4, 0, 1, 2, 3)}.get((found, spconv))
    if order is None:
        return dict(state)
    return {n: t.permute(order).contiguous() if n in KERNEL_SIZES else t for n, t in state.items()}


def layout(state: Mapping[str, Tensor]) -> int:
    """1 or 2: the version of spconv whose layout all sparse kernels have.

    Raises:
        CheckpointError: They have neither, or not the same.
    """
    shapes = {name: tuple(state[name].shape) for name in KERNEL_SIZES if name in state}
    for version, start in ((2, 1), (1, 0)):
        if all(len(s) == 5 and s[start : start + 3] == KERNEL_SIZES[n] for n, s in shapes.items()):
            return version
    name = next(n for n, s in shapes.items() if len(s) != 5 or s[1:4] != KERNEL_SIZES[n])
    size = ", ".join(map(str, KERNEL_SIZES[name]))
    raise CheckpointError(
        f"{name} has shape {shapes[name]}: a kernel of SECOND is (O, {size}, I) for spconv 2.x or "
        f"({size}, I, O) for spconv 1.x, all of a file alike."
    )


def unlike_published(state: Mapping[str, Tensor]) -> list[str]:
    """Weights whose shape differs from that of OpenPCDet's configurations of SECOND, with both shapes.

    Args:
        state: Weights in the layout of spconv 2.x.
    """
    shapes = {name: tuple(state[name].shape) for name in SHAPES if name in state}
    return [f"{n}: {s}, there {SHAPES[n]}" for n, s in shapes.items() if s != SHAPES[n]]
