"""Native backend on a GPU, the sizes: which blocks, warps and stages its matrix products take, by channels.

Letters: I input channels, O output channels.

Measured once over all layers of MinkUNet34 on an H100 (doc/performance.md), not tuned while training: a first
step that measures costs minutes, and what it finds depends on what else the card does. Cards from compute
capability 8.0 on run the same choices; they are right everywhere, and quickest on Hopper.
"""

from __future__ import annotations

from dataclasses import dataclass

# Widest block of output channels, and of input channels taken at a time.
WIDEST, DEEPEST = 128, 64


@dataclass(frozen=True)
class TileBlocks:
    """How a tile of rows is multiplied.

    Attributes:
        inputs: Channels of a product.
        inner: Products that follow one another for each kernel cell with the same rows.
        outputs, rest: Output channels of a program, as two powers of two (the second may be 0).
        warps, stages: Of the program.
    """

    inputs: int
    inner: int
    outputs: int
    rest: int
    warps: int
    stages: int


def tile_blocks(in_channels: int, out_channels: int) -> TileBlocks:
    """The blocks for that many channels, both multiples of 16."""
    outputs, rest = split(out_channels)
    shallow = in_channels <= 96
    inputs = largest_block(in_channels, 32 if shallow else DEEPEST)
    inner = in_channels // inputs if shallow else 1
    return TileBlocks(inputs, inner, outputs, rest, warps=8 if outputs + rest > WIDEST else 4, stages=4)


def pair_blocks(in_channels: int, out_channels: int) -> TileBlocks:
    """The blocks for the kernel's gradient; those of the input channels may reach beyond the last one."""
    inputs = 1 << (in_channels - 1).bit_length()
    if inputs > WIDEST:
        inputs = largest_block(in_channels, WIDEST)
    outputs, rest = split(out_channels)
    if outputs + rest > WIDEST:
        outputs, rest = largest_block(out_channels, WIDEST), 0
    return TileBlocks(max(inputs, 16), 1, outputs, rest, warps=4, stages=3)


def split(channels: int) -> tuple[int, int]:
    """Channels of a program as one or two powers of two that divide them: 96 as 64 + 32."""
    whole = min(channels & -channels, WIDEST)
    if channels <= WIDEST + WIDEST // 2:
        first = 1 << (channels.bit_length() - 1)
        second = channels - first
        if first <= WIDEST and second >= 16 and second & (second - 1) == 0:
            return first, second
    return whole, 0


def largest_block(channels: int, most: int) -> int:
    """The largest power of two that divides the channels, up to `most`."""
    return min(channels & -channels, most)
