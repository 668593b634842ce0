"""SECOND against dense 3-D convolutions in float64, masked to the occupied cells, with axes z, y, x.

The oracle knows the published state dict and nothing else of the package.
Letters: B scans, C channels, L latents, Z, Y, X cells.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

Make = Callable[..., Any]
State = dict[str, Tensor]
# Name, stride, padding (z, y, x) of the sparse convolutions in order; stride 1 keeps the occupied cells.
SPARSE = [
    ("conv_input", 1, 1),
    ("conv1.0", 1, 1),
    ("conv2.0", 2, 1),
    ("conv2.1", 1, 1),
    ("conv2.2", 1, 1),
    ("conv3.0", 2, 1),
    ("conv3.1", 1, 1),
    ("conv3.2", 1, 1),
    ("conv4.0", 2, (0, 1, 1)),
    ("conv4.1", 1, 1),
    ("conv4.2", 1, 1),
    ("conv_out", (2, 1, 1), 0),
]


class DenseSecond:
    """`state` holds the weights; `training` chooses the batch statistics."""

    def __init__(self, state: State, *, training: bool) -> None:
        self.state, self.training = state, training

    def norm(self, rows: Tensor, name: str) -> Tensor:
        """Batch-norm of (N, C) with epsilon 1e-3."""
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.training:
            mean, var = rows.mean(dim=0), rows.var(dim=0, unbiased=False)
        return (rows - mean) / (var + 1e-3).sqrt() * weight + bias

    def sparse(self, grid: Tensor, mask: Tensor) -> Tensor:
        """(B, C, Z, Y, X) and its occupied cells (B, Z, Y, X) to (B, 128, 2, Y / 8, X / 8)."""
        for name, stride, padding in SPARSE:
            weight = self.state[f"backbone_3d.{name}.0.weight"]
            grid = functional.conv3d(grid, weight.permute(0, 4, 1, 2, 3), stride=stride, padding=padding)
            if stride != 1:
                reach = torch.ones(1, 1, *weight.shape[1:4], dtype=grid.dtype)
                ones = mask[:, None].to(grid.dtype)
                mask = functional.conv3d(ones, reach, stride=stride, padding=padding)[:, 0] > 0.5
            rows = self.norm(grid.movedim(1, -1)[mask], f"backbone_3d.{name}.1").relu()
            spread = grid.new_zeros(*mask.shape, rows.shape[1])
            spread[mask] = rows
            grid = spread.movedim(-1, 1)
        return grid

    def image_norm(self, image: Tensor, name: str) -> Tensor:
        """Batch-norm and ReLU of (B, C, Y, X)."""
        rows = self.norm(image.movedim(1, -1).flatten(0, 2), name).relu()
        return rows.view(image.shape[0], *image.shape[2:], -1).movedim(-1, 1)

    def flat(self, image: Tensor) -> Tensor:
        """The 2-D part: (B, 256, Y, X) to (B, 512, Y, X)."""
        levels = []
        for block, stride in ((0, 1), (1, 2)):
            name = f"backbone_2d.blocks.{block}"
            for number in (1, 4, 7, 10, 13, 16):
                weight = self.state[f"{name}.{number}.weight"]
                image = functional.conv2d(image, weight, stride=stride if number == 1 else 1, padding=1)
                image = self.image_norm(image, f"{name}.{number + 1}")
            name = f"backbone_2d.deblocks.{block}"
            up = functional.conv_transpose2d(image, self.state[f"{name}.0.weight"], stride=stride)
            levels.append(self.image_norm(up, f"{name}.1"))
        return torch.cat(levels, dim=1)

    def __call__(self, grid: Tensor, mask: Tensor) -> Tensor:
        """(B, L, Y / 8, X / 8) latents of cells."""
        image = self.sparse(grid, mask)
        image = self.flat(image.reshape(image.shape[0], -1, *image.shape[3:]))
        return functional.conv2d(image, self.state["dense_head.weight"], self.state["dense_head.bias"])


def dense_inputs(batch: dict[str, Any]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """(B, C, Z, Y, X) with OpenPCDet's extra layer in z, its occupied cells, and each voxel's place."""
    x, y, z = batch["voxel_coords"].long().unbind(1)
    places = (batch["voxel_coords_batch"], z, y, x)
    mask = torch.zeros(len(batch["sensor"]), 41, 48, 32, dtype=torch.bool)
    mask[places] = True
    grid = torch.zeros(*mask.shape, batch["voxel_x"].shape[1], dtype=torch.float64)
    grid = grid.index_put(places, batch["voxel_x"])
    return grid.movedim(-1, 1), mask, places


@pytest.mark.parametrize("training", [False, True])
def test_equals_the_dense_network(training: bool, draw_second: Make, make_second: Make) -> None:
    batch, net = draw_second(400, 250), make_second().train(training)
    batch["voxel_x"].requires_grad_()
    state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    inner = {name: state[name].requires_grad_() for name, _ in net.named_parameters()}
    grid, mask, _ = dense_inputs(batch)
    truth = DenseSecond(state, training=training)(grid, mask).permute(0, 2, 3, 1).flatten(0, 2)
    ours = net(batch)["latents"]
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-10)

    weights = torch.randn(truth.shape, dtype=truth.dtype, generator=torch.Generator().manual_seed(2))
    expected = torch.autograd.grad((truth * weights).sum(), [batch["voxel_x"], *inner.values()])
    found = torch.autograd.grad((ours * weights).sum(), [batch["voxel_x"], *net.parameters()])
    for name, gradient, exact in zip(["voxel_x", *inner], found, expected, strict=True):
        scale = max(1.0, float(exact.abs().max()))
        torch.testing.assert_close(gradient, exact, rtol=0, atol=1e-10 * scale, msg=lambda m, n=name: n + m)
    assert all(bool(gradient.any()) for gradient in found)


def test_running_statistics_move_as_openpcdets(draw_second: Make, make_second: Make) -> None:
    batch, net = draw_second(300), make_second().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net(batch)
    grid, mask, _ = dense_inputs(batch)
    weight = before["backbone_3d.conv_input.0.weight"].permute(0, 4, 1, 2, 3)
    rows = nn.functional.conv3d(grid, weight, padding=1).movedim(1, -1)[mask]
    name = "backbone_3d.conv_input.1.running_mean"
    expected = 0.99 * before[name] + 0.01 * rows.mean(0)
    torch.testing.assert_close(net.state_dict()[name], expected, rtol=0, atol=1e-12)
