"""Recorded passes on a GPU against the same passes launched one by one; skipped where there is none."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from also_selfsup.networks import build_backbone
from also_selfsup.networks.backbone import Encoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _batch(seed: int, *, cells: int) -> dict[str, Tensor]:
    """A batch of two scans with random cells, about as many as asked for."""
    draw = torch.Generator().manual_seed(seed)
    coords = torch.unique(torch.randint(0, 40, (cells, 4), generator=draw), dim=0)
    coords[:, 0] %= 2
    coords = torch.unique(coords, dim=0)
    count = len(coords)
    batch = {
        "voxel_coords": coords[:, 1:].int(),
        "voxel_coords_batch": coords[:, 0],
        "voxel_x": torch.randn(count, 1, generator=draw),
        "voxel_to_pc_id": torch.randint(0, count, (2 * count,), generator=draw),
    }
    return {name: value.cuda() for name, value in batch.items()}


def _steps(network: Encoder, batches: list[dict[str, Tensor]]) -> list[Any]:
    """Results, gradients and statistics of a few training steps."""
    found = []
    for batch in batches:
        network.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            latents = network(batch)["latents"]
        latents.float().square().mean().backward()
        gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        statistics = {n: b.clone() for n, b in network.named_buffers()}
        found.append((latents.detach().clone(), gradients, statistics))
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=0.01)
    return found


def _error(ours: Tensor, truth: Tensor) -> float:
    return float((ours.double() - truth.double()).norm() / truth.double().norm().clamp(min=1e-12))


def test_recorded_passes_equal_launched_ones_also_when_a_batch_outgrows_the_room() -> None:
    torch.manual_seed(0)
    plain = build_backbone("MinkUNet18", in_channels=1, out_channels=16, framework="native").cuda()
    recorded = copy.deepcopy(plain)
    recorded.backend.record()
    sizes = (9000, 9000, 8000, 9100, 20000, 20000, 9000)
    batches = [_batch(seed, cells=cells) for seed, cells in enumerate(sizes)]
    for (out, grads, stats), (out_, grads_, stats_) in zip(
        _steps(recorded, batches), _steps(plain, batches), strict=True
    ):
        assert _error(out, out_) < 1e-2
        assert grads.keys() == grads_.keys()
        for name in grads:
            assert _error(grads[name], grads_[name]) < 5e-2, name
        for name in stats:
            assert _error(stats[name], stats_[name]) < 1e-2, name
    recorder = recorded.backend.recorder  # type: ignore[attr-defined]
    assert recorder.recording is not None


def test_gradients_of_two_batches_add_up() -> None:
    torch.manual_seed(0)
    plain = build_backbone("MinkUNet18", in_channels=1, out_channels=16, framework="native").cuda()
    recorded = copy.deepcopy(plain)
    recorded.backend.record()
    batches = [_batch(seed, cells=9000) for seed in range(5)]
    for network in (plain, recorded):
        for batch in batches:
            with torch.autocast("cuda", torch.bfloat16):
                latents = network(batch)["latents"]
            latents.float().square().mean().backward()
    for (name, ours), truth in zip(recorded.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None and truth.grad is not None
        assert _error(ours.grad, truth.grad) < 1e-2, name
