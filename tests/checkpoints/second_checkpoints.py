"""SECOND's weights as OpenPCDet publishes them, in a compact list of its own, and files made of them.

Written from the published list of names and shapes, not from the package's table.
"""

from pathlib import Path

import torch
from torch import Tensor

# Module of each convolution and the shape of its weight in spconv 2.x; the norm is the next module.
CONVOLUTIONS = """
backbone_3d.conv_input.0 16 3 3 3 4
backbone_3d.conv1.0.0 16 3 3 3 16
backbone_3d.conv2.0.0 32 3 3 3 16
backbone_3d.conv2.1.0 32 3 3 3 32
backbone_3d.conv2.2.0 32 3 3 3 32
backbone_3d.conv3.0.0 64 3 3 3 32
backbone_3d.conv3.1.0 64 3 3 3 64
backbone_3d.conv3.2.0 64 3 3 3 64
backbone_3d.conv4.0.0 64 3 3 3 64
backbone_3d.conv4.1.0 64 3 3 3 64
backbone_3d.conv4.2.0 64 3 3 3 64
backbone_3d.conv_out.0 128 3 1 1 64
backbone_2d.blocks.0.1 128 256 3 3
backbone_2d.blocks.0.4 128 128 3 3
backbone_2d.blocks.0.7 128 128 3 3
backbone_2d.blocks.0.10 128 128 3 3
backbone_2d.blocks.0.13 128 128 3 3
backbone_2d.blocks.0.16 128 128 3 3
backbone_2d.blocks.1.1 256 128 3 3
backbone_2d.blocks.1.4 256 256 3 3
backbone_2d.blocks.1.7 256 256 3 3
backbone_2d.blocks.1.10 256 256 3 3
backbone_2d.blocks.1.13 256 256 3 3
backbone_2d.blocks.1.16 256 256 3 3
backbone_2d.deblocks.0.0 128 256 1 1
backbone_2d.deblocks.1.0 256 256 2 2
"""
HEAD = {
    "conv_cls.weight": (18, 512, 1, 1),
    "conv_cls.bias": (18,),
    "conv_box.weight": (42, 512, 1, 1),
    "conv_box.bias": (42,),
    "conv_dir_cls.weight": (12, 512, 1, 1),
    "conv_dir_cls.bias": (12,),
}


def second_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the backbone's weights by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for line in CONVOLUTIONS.split("\n")[1:-1]:
        name, *numbers = line.split()
        shape = tuple(int(number) for number in numbers)
        folder, _, index = name.rpartition(".")
        width = (shape[1] if "deblocks" in name else shape[0],)
        norm = f"{folder}.{int(index) + 1}"
        shapes[f"{name}.weight"] = shape
        shapes |= {f"{norm}.{key}": width for key in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def second_state(seed: int = 0, *, thin: bool = False) -> dict[str, Tensor]:
    """Random weights of the backbone; with an eighth of the channels where they need only be many."""
    generator = torch.Generator().manual_seed(seed)
    shapes = second_shapes()
    if thin:
        shapes = {n: tuple(edge // 8 if edge >= 16 else edge for edge in s) for n, s in shapes.items()}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {n: torch.tensor(7) if n.endswith("num_batches_tracked") else t for n, t in state.items()}


def detector_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights of OpenPCDet's SECOND for KITTI's three classes."""
    head = {f"dense_head.{name}": torch.randn(shape) for name, shape in HEAD.items()}
    return {"global_step": torch.tensor([9]), **second_state(seed), **head}


def write_pretraining(path: Path, state: dict[str, Tensor], *, prefix: str = "") -> Path:
    """A checkpoint of pre-training: backbone with its last layer, decoder, as Lightning would write it."""
    backbone = {
        **state,
        "dense_head.weight": torch.randn(128, 512, 1, 1),
        "dense_head.bias": torch.randn(128),
    }
    table = {f"backbone.{prefix}{name}": tensor for name, tensor in backbone.items()}
    if prefix:
        table[f"backbone.{prefix}global_step"] = torch.zeros(1, dtype=torch.int64)
    table["decoder.fc_in.weight"] = torch.randn(4, 4)
    torch.save({"state_dict": table, "epoch": 74, "global_step": 5}, path)
    return path
