"""Beside the layers: the order of a kernel's cells, its first values, and the layouts of other libraries.

Letters: K cells of a kernel, I input channels, O output channels.

The published checkpoints hold kernels as (K, I, O) in the order of MinkowskiEngine and torchsparse: with an
odd number of cells x runs fastest and z slowest, with an even number z runs fastest and x slowest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Triple


def kernel_offsets(size: Triple) -> list[Triple]:
    """Cells (x, y, z) of a kernel, counted from 0, in the order of the parameter's first dimension."""
    x_size, y_size, z_size = size
    if cell_count(size) % 2:
        return [(x, y, z) for z in range(z_size) for y in range(y_size) for x in range(x_size)]
    return [(x, y, z) for x in range(x_size) for y in range(y_size) for z in range(z_size)]


def cell_count(size: Triple) -> int:
    """K: how many cells a kernel has."""
    return math.prod(size)


def centre(size: Triple) -> Triple:
    """What to take off `kernel_offsets` in a submanifold convolution, so that odd sizes lie around 0."""
    x_size, y_size, z_size = size
    return (_centre(x_size), _centre(y_size), _centre(z_size))


def _centre(length: int) -> int:
    return length // 2 if length % 2 else 0


def new_kernel(size: Triple, in_channels: int, *, out_channels: int, transposed: bool = False) -> Tensor:
    """A kernel with the published initialisation, uniform in ±1/sqrt(fan).

    The fan is input channels (output channels in a transposed convolution) times K, as in torchsparse.

    Returns:
        (K, I, O) float32, or (I, O) when K = 1.
    """
    count = cell_count(size)
    shape = (in_channels, out_channels) if count == 1 else (count, in_channels, out_channels)
    bound = 1.0 / math.sqrt((out_channels if transposed else in_channels) * count)
    return torch.empty(shape).uniform_(-bound, bound)


def as_cells(kernel: Tensor, size: Triple) -> Tensor:
    """The kernel as (K, I, O), also when K = 1.

    Raises:
        ValueError: The kernel has another number of cells than `size` says.
    """
    cells = kernel.unsqueeze(0) if kernel.dim() == 2 else kernel
    if cells.dim() != 3 or cells.shape[0] != cell_count(size):
        raise ValueError(
            f"kernel of shape {tuple(kernel.shape)} does not fit size {size}: expected "
            f"({cell_count(size)}, input channels, output channels)."
        )
    return cells


def as_grid(kernel: Tensor, size: Triple) -> Tensor:
    """The kernel as (x, y, z, I, O), whatever order its cells are stored in."""
    cells = as_cells(kernel, size)
    channels = cells.shape[1:]
    if cell_count(size) % 2:
        return cells.reshape(*reversed(size), *channels).permute(2, 1, 0, 3, 4)
    return cells.reshape(*size, *channels)


def to_spconv(kernel: Tensor, size: Triple) -> Tensor:
    """The kernel as spconv 2.x holds it for `[batch, x, y, z]` indices: (O, x, y, z, I), contiguous."""
    return as_grid(kernel, size).permute(4, 0, 1, 2, 3).contiguous()


def from_spconv(weight: Tensor, size: Triple) -> Tensor:
    """Inverse of `to_spconv`: (O, x, y, z, I) to (K, I, O), or (I, O) when K = 1."""
    grid = weight.permute(1, 2, 3, 4, 0)
    if cell_count(size) % 2:
        grid = grid.permute(2, 1, 0, 3, 4)
    cells = grid.reshape(cell_count(size), grid.shape[3], grid.shape[4])
    return cells[0].contiguous() if len(cells) == 1 else cells.contiguous()
