"""What the tests of networks share: small batches, and networks with statistics as after some training."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from also_selfsup.networks import BACKBONES, Encoder, build_backbone

# A box of 32 x 48 x 40 voxels: 4 x 6 cells of the view, two of height.
SIZE, EXTENT = (0.4, 0.2, 0.1), [3.0, -4.8, -3.0, 15.8, 4.8, 1.0]
SHAPE = (32, 48, 40)


def _make_batch(counts: tuple[int, ...] = (40, 25), *, channels: int = 2, seed: int = 0) -> dict[str, Any]:
    """Scans of a few cells in a 16³ grid, with more points than cells."""
    generator = torch.Generator().manual_seed(seed)
    cells = [torch.randperm(16**3, generator=generator)[:count] for count in counts]
    cell = torch.cat(cells)
    coords = torch.stack([cell // 256, cell // 16 % 16, cell % 16], dim=1).int()
    count = len(coords)
    return {
        "voxel_coords": coords,
        "voxel_coords_batch": torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)),
        "voxel_x": torch.randn(count, channels, generator=generator, dtype=torch.float64),
        "voxel_to_pc_id": torch.randint(max(count, 1), (2 * count,), generator=generator),
    }


def _make_net(name: str, *, out_channels: int = 5) -> nn.Module:
    """A network with a quarter of the channels, statistics and batch-norm weights as after some training."""
    torch.manual_seed(0)
    network = BACKBONES[name]
    narrow = type(name, (network,), {"channels": tuple(width // 4 for width in network.channels)})
    net = narrow(2, out_channels).double()
    _move_norms(net)
    return net


def _move_norms(net: nn.Module) -> None:
    """Batch-norms as after some training."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)


def _draw_second(*counts: int, seed: int = 0) -> dict[str, Any]:
    """Scans of random voxels of the box, each with the box's last one."""
    generator = torch.Generator().manual_seed(seed)
    total = SHAPE[0] * SHAPE[1] * SHAPE[2]
    numbers = [torch.randperm(total - 1, generator=generator)[:count] for count in counts]
    cell = torch.cat([torch.cat([one[1:], torch.tensor([total - 1])]) for one in numbers])
    x, yz = cell // (SHAPE[1] * SHAPE[2]), cell % (SHAPE[1] * SHAPE[2])
    return {
        "voxel_coords": torch.stack([x, yz // SHAPE[2], yz % SHAPE[2]], dim=1).int(),
        "voxel_coords_batch": torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)),
        "voxel_x": torch.randn(len(cell), 4, generator=generator, dtype=torch.float64),
        "sensor": torch.zeros(len(counts), 3),
    }


def _make_second(framework: str = "native", **options: Any) -> Encoder:
    """A network in float64, statistics and batch-norm weights as after some training."""
    torch.manual_seed(0)
    given = {"voxel_size": SIZE, "extent": EXTENT, **options}
    net = build_backbone("SECOND", in_channels=4, out_channels=7, framework=framework, **given).double()
    _move_norms(net)
    return net


@pytest.fixture
def make_batch() -> Callable[..., dict[str, Any]]:
    """Makes the voxel fields of a batch: `make_batch(counts=(40, 25), channels=2, seed=0)`."""
    return _make_batch


@pytest.fixture
def make_net() -> Callable[..., nn.Module]:
    """Makes a narrow network in float64: `make_net(name, out_channels=5)`."""
    return _make_net


@pytest.fixture
def draw_second() -> Callable[..., dict[str, Any]]:
    """Draws scans in SECOND's small box: `draw_second(400, 250, seed=0)`, a number of voxels each."""
    return _draw_second


@pytest.fixture
def make_second() -> Callable[..., Encoder]:
    """Makes SECOND for that box in float64: `make_second("native", **options)`."""
    return _make_second
