"""Native backend on a GPU, the sizes: which blocks, warps and stages its matrix products take, by channels.

Letters: I input channels, O output channels.

Measured once over all layers of MinkUNet34 on an H200 (doc/performance.md), not tuned while training: a first
step that measures costs minutes, and what it finds depends on what else the card does. Cards from compute
capability 8.0 on run the same choices; they are right everywhere, and quickest on Hopper.
"""

from __future__ import annotations

from dataclasses import dataclass

# Widest block of output channels, and of input channels taken at a time.
WIDEST, DEEPEST = 128, 64


@dataclass(frozen=True)
class Blocks:
    """How a program of a product is cut.

    Attributes:
        inputs: Input channels; those of a kernel's gradient may reach beyond the last one.
        outputs, rest: Output channels, as two powers of two (the second may be 0).
        depth: Rows or channels that a product sums over.
        warps, stages: Of the program.
    """

    inputs: int
    outputs: int
    rest: int
    depth: int
    warps: int
    stages: int


def tile_blocks(in_channels: int, out_channels: int) -> Blocks:
    """The blocks for that many channels, both multiples of 16.

    A program reads kernel cell, rows and features one after another, and Triton spreads its stages over these
    three: from 7 on features have two products' time to arrive, below one.
    """
    outputs, rest = split(out_channels)
    inputs = largest_block(in_channels, DEEPEST)
    if outputs + rest > WIDEST:
        return Blocks(inputs, outputs, rest, inputs, warps=8, stages=4)
    return Blocks(inputs, outputs, rest, inputs, warps=4, stages=7 if inputs == DEEPEST else 10)


def pair_blocks(in_channels: int, out_channels: int) -> Blocks:
    """The blocks for the kernel's gradient; those of the input channels may reach beyond the last one."""
    inputs = 1 << (in_channels - 1).bit_length()
    if inputs > WIDEST:
        inputs = largest_block(in_channels, WIDEST)
    inputs = max(inputs, 16)
    outputs, rest = split(out_channels)
    if outputs + rest > WIDEST:
        outputs, rest = largest_block(out_channels, WIDEST), 0
    depth, stages = 32, 5
    if outputs == WIDEST:
        # Several blocks a chunk are many programs: three of them fit a processor with few stages.
        depth, stages = 64, 3 if in_channels > WIDEST and out_channels > WIDEST else 5
    elif inputs <= DEEPEST and outputs + rest <= DEEPEST:
        stages = 7
    return Blocks(inputs, outputs, rest, depth, warps=4, stages=stages)


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
