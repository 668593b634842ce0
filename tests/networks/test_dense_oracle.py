"""Backbones against the same U-Net on a full grid: torch's dense convolutions, masked to the occupied cells.

The oracle knows the published state dict and nothing else of the package.
Letters: B scans, C channels, G cells along an axis of the grid.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

Make = Callable[..., Any]

State = dict[str, Tensor]


def grid_mask(coords: Tensor, *, scans: int, size: int) -> Tensor:
    """(B, G, G, G) bool of the occupied cells; coords (V, 4) as [scan, x, y, z]."""
    mask = torch.zeros(scans, size, size, size, dtype=torch.bool)
    mask[tuple(coords.T.long())] = True
    return mask


class DenseUNet:
    """The published wiring; `state` holds the weights, `training` chooses the batch statistics."""

    def __init__(self, state: State, *, training: bool) -> None:
        self.state, self.training = state, training

    def blocks(self, prefix: str, first: int) -> list[int]:
        """Numbers of the residual blocks under `prefix`, from `first` on."""
        numbers = itertools.count(first)
        return list(itertools.takewhile(lambda n: f"{prefix}.{n}.net.0.kernel" in self.state, numbers))

    def norm(self, rows: Tensor, name: str) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        if self.training:
            mean, var = rows.mean(dim=0), rows.var(dim=0, unbiased=False)
        else:
            mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        return (rows - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(self, x: Tensor, mask: Tensor, name: str, *, kind: str = "same") -> Tensor:
        """Convolve the dense x (B, C, G, G, G), keep the cells of `mask`, batch-norm over those."""
        head, number = name.rsplit(".", 1)
        kernel = self.state[f"{name}.kernel"]
        if kind == "same" and kernel.dim() == 2:
            y = functional.conv3d(x, kernel.T[:, :, None, None, None])
        elif kind == "same":  # x runs fastest
            y = functional.conv3d(x, kernel.unflatten(0, (3, 3, 3)).permute(4, 3, 2, 1, 0), padding=1)
        elif kind == "down":  # z runs fastest
            y = functional.conv3d(x, kernel.unflatten(0, (2, 2, 2)).permute(4, 3, 0, 1, 2), stride=2)
        else:
            y = functional.conv_transpose3d(
                x, kernel.unflatten(0, (2, 2, 2)).permute(3, 4, 0, 1, 2), stride=2
            )
        rows = self.norm(y.movedim(1, -1)[mask], f"{head}.{int(number) + 1}")
        return scatter(rows, mask)

    def residual(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        y = self.conv(x, mask, f"{name}.net.0").relu()
        y = self.conv(y, mask, f"{name}.net.3")
        if f"{name}.downsample.0.kernel" in self.state:
            x = self.conv(x, mask, f"{name}.downsample.0")
        return (y + x).relu()

    def down(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features and masks of levels 0 to 4."""
        x = self.conv(x, mask, "stem.0").relu()
        if "stem.3.kernel" in self.state:
            x = self.conv(x, mask, "stem.3").relu()
        levels, masks = [x], [mask]
        for stage in ("stage1", "stage2", "stage3", "stage4"):
            mask = functional.max_pool3d(mask.double(), 2).bool()
            x = self.conv(x, mask, f"{stage}.0.net.0", kind="down").relu()
            for number in self.blocks(stage, 1):
                x = self.residual(x, mask, f"{stage}.{number}")
            levels.append(x)
            masks.append(mask)
        return levels, masks

    def up(self, x: Tensor, skip: Tensor, mask: Tensor, *, name: str) -> Tensor:
        x = self.conv(x, mask, f"{name}.0.net.0", kind="up").relu()
        x = torch.cat([x, skip], dim=1)
        for number in self.blocks(f"{name}.1", 0):
            x = self.residual(x, mask, f"{name}.1.{number}")
        return x

    def minkunet(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, G, G, G) to (B, O, G, G, G): what the classifier says of each cell."""
        levels, masks = self.down(x, mask)
        y = levels[4]
        for level, name in ((3, "up1"), (2, "up2"), (1, "up3"), (0, "up4")):
            y = self.up(y, levels[level], masks[level], name=name)
        return self.linear(y.movedim(1, -1), "classifier.0").movedim(-1, 1)

    def linear(self, rows: Tensor, name: str) -> Tensor:
        return rows @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def spvcnn(self, x: Tensor, mask: Tensor) -> Tensor:
        """As `minkunet`, with the point branch of SPVCNN; its points are the occupied cells."""
        points = mask.nonzero()
        levels, masks = self.down(x, mask)
        z = at_points(levels[0], masks[0], points, stride=1)
        y = levels[4]
        for index, (level, stride, up) in enumerate([(4, 16, "up1 up2"), (2, 4, "up3 up4"), (0, 1, "")]):
            branch = self.linear(z, f"point_transforms.{index}.0")
            branch = self.norm(branch, f"point_transforms.{index}.1").relu()
            z = at_points(y, masks[level], points, stride=stride) + branch
            y = mean_of_points(z, masks[level], points, stride=stride)
            for step, name in enumerate(up.split(), start=1):
                y = self.up(y, levels[level - step], masks[level - step], name=name)
        return scatter(self.linear(z, "classifier.0"), mask)


def scatter(rows: Tensor, mask: Tensor) -> Tensor:
    """Rows of the occupied cells to a dense (B, C, G, G, G) grid, zero elsewhere."""
    dense = rows.new_zeros(*mask.shape, rows.shape[1])
    dense[mask] = rows
    return dense.movedim(-1, 1)


def at_points(x: Tensor, mask: Tensor, points: Tensor, *, stride: int) -> Tensor:
    """Read each point trilinearly between the occupied cells around it, corner by corner."""
    rows = []
    for scan, *cell in points.tolist():
        total, weights = torch.zeros(x.shape[1], dtype=x.dtype), 0.0
        for corner in itertools.product((0, 1), repeat=3):
            at = [c // stride + step for c, step in zip(cell, corner, strict=True)]
            weight = 1.0
            for c, a in zip(cell, at, strict=True):
                weight *= 1 - abs(c - a * stride) / stride
            if weight > 0 and all(a < mask.shape[1] for a in at) and mask[scan, at[0], at[1], at[2]]:
                total = total + weight * x[scan, :, at[0], at[1], at[2]]
                weights += weight
        rows.append(total / weights)
    return torch.stack(rows)


def mean_of_points(z: Tensor, mask: Tensor, points: Tensor, *, stride: int) -> Tensor:
    """Give each cell the mean of the points in it."""
    sums, counts = z.new_zeros(*mask.shape, z.shape[1]), z.new_zeros(*mask.shape, 1)
    for row, (scan, *cell) in zip(z, points.tolist(), strict=True):
        at = (scan, *(c // stride for c in cell))
        sums[at] += row
        counts[at] += 1
    return (sums / counts.clamp(min=1)).movedim(-1, 1)


@pytest.mark.parametrize("name", ["MinkUNet34", "MinkUNet18SC", "SPVCNN"])
@pytest.mark.parametrize("training", [False, True])
def test_equals_the_dense_oracle(name: str, training: bool, make_batch: Make, make_net: Make) -> None:
    batch, net = make_batch(), make_net(name).train(training)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    coords = torch.cat([batch["voxel_coords_batch"][:, None], batch["voxel_coords"]], dim=1)
    mask = grid_mask(coords, scans=2, size=16)
    dense = torch.zeros(*mask.shape, 2, dtype=torch.float64)
    dense[tuple(coords.T.long())] = batch["voxel_x"]
    oracle = DenseUNet({key: value.clone() for key, value in net.state_dict().items()}, training=training)
    run = oracle.spvcnn if name.startswith("SPVCNN") else oracle.minkunet
    expected = run(scatter(dense[mask], mask), mask).movedim(1, -1)[tuple(coords.T.long())]
    latents = net(batch)["latents"]
    torch.testing.assert_close(latents, expected[batch["voxel_to_pc_id"]], rtol=1e-9, atol=1e-9)
