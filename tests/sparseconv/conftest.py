"""Truths of sparse convolution: the same operations on dense grids by torch, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

Cells = Callable[..., Tensor]
Triple = tuple[int, int, int]


@pytest.fixture
def cells() -> Cells:
    """Function: random occupied cells [batch, x, y, z] of a box, in random order."""

    def draw(shape: Triple = (9, 8, 7), *, batch: int = 2, share: float = 0.3, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        found = torch.nonzero(torch.rand(batch, *shape, generator=generator) < share)
        return found[torch.randperm(len(found), generator=generator)]

    return draw


class Dense:
    """Sparse convolutions the slow way: everything on a grid of zeros."""

    @staticmethod
    def grid(feats: Tensor, coords: Tensor, shape: Triple) -> Tensor:
        """(V, C) at cells of [0, shape) to (B, C, x, y, z)."""
        count = int(coords[:, 0].max()) + 1
        grid = feats.new_zeros(count, *shape, feats.shape[1]).index_put(tuple(coords.T), feats)
        return grid.permute(0, 4, 1, 2, 3)

    @staticmethod
    def weight(kernel: Tensor, size: Triple) -> Tensor:
        """(K, I, O) in published order to (O, I, x, y, z): odd counts x fastest, even counts z fastest."""
        x, y, z = size
        channels = kernel.shape[-2:]
        if x * y * z % 2:
            return kernel.reshape(z, y, x, *channels).permute(4, 3, 2, 1, 0)
        return kernel.reshape(x, y, z, *channels).permute(4, 3, 0, 1, 2)

    @classmethod
    def submanifold(
        cls, feats: Tensor, coords: Tensor, kernel: Tensor, *, size: Triple, shape: Triple
    ) -> Tensor:
        """Result rows at the input's cells; even lengths reach forward, odd ones lie around the cell."""
        padding = []
        for length in reversed(size):
            before = length // 2 if length % 2 else 0
            padding += [before, length - 1 - before]
        grid = functional.pad(cls.grid(feats, coords, shape), padding)
        result = functional.conv3d(grid, cls.weight(kernel, size))
        return result.permute(0, 2, 3, 4, 1)[tuple(coords.T)]

    @classmethod
    def downsample(
        cls,
        feats: Tensor,
        coords: Tensor,
        kernel: Tensor,
        *,
        size: Triple,
        stride: Triple,
        padding: Triple,
        shape: Triple,
    ) -> tuple[Tensor, Tensor]:
        """Cells that the kernel reaches, ordered by batch, x, y, z, and the result rows there."""
        grid = cls.grid(feats, coords, shape)
        result = functional.conv3d(grid, cls.weight(kernel, size), stride=stride, padding=padding)
        ones = cls.grid(torch.ones(len(coords), 1), coords, shape)
        reached = functional.conv3d(ones, torch.ones(1, 1, *size), stride=stride, padding=padding)
        found = torch.nonzero(reached[:, 0] > 0.5)
        return found, result.permute(0, 2, 3, 4, 1)[tuple(found.T)]

    @classmethod
    def upsample(
        cls,
        feats: Tensor,
        coords: Tensor,
        kernel: Tensor,
        *,
        fine: Tensor,
        size: Triple,
        stride: Triple,
        padding: Triple,
        shape: Triple,
    ) -> Tensor:
        """Transposed convolution from cells of [0, shape), read at the fine cells."""
        grid = cls.grid(feats, coords, shape)
        weight = cls.weight(kernel, size).transpose(0, 1)
        result = functional.conv_transpose3d(grid, weight, stride=stride)
        result = result[:, :, padding[0] :, padding[1] :, padding[2] :]
        needed = [int(fine[:, axis + 1].max()) + 1 - result.shape[axis + 2] for axis in range(3)]
        result = functional.pad(result, [0, max(needed[2], 0), 0, max(needed[1], 0), 0, max(needed[0], 0)])
        return result.permute(0, 2, 3, 4, 1)[tuple(fine.T)]


@pytest.fixture
def dense() -> type[Dense]:
    """The dense truths."""
    return Dense
