"""Recorded passes on a GPU against the same passes launched one by one; skipped where there is none."""

import copy

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


def _step(network: Encoder, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Result, gradients and statistics of one training step, which moves no weight."""
    network.zero_grad()
    with torch.autocast("cuda", torch.bfloat16):
        latents = network(batch)["latents"]
    latents.float().square().mean().backward()
    found = {"latents": latents} | {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    found |= {name: value for name, value in network.named_buffers() if "running" in name}
    return {name: value.detach().clone() for name, value in found.items()}


def _error(ours: Tensor, truth: Tensor) -> float:
    return float((ours.double() - truth.double()).norm() / truth.double().norm().clamp(min=1e-12))


def test_recorded_passes_equal_launched_ones_also_when_a_batch_outgrows_the_room() -> None:
    """Of the same room: the rounding of another one grows to half of the deepest gradients, ReLU by ReLU."""
    torch.manual_seed(0)
    launched = build_backbone("MinkUNet18", in_channels=1, out_channels=16, framework="native").cuda()
    recorded, unpadded = copy.deepcopy(launched), copy.deepcopy(launched)
    launched.backend.record()
    recorded.backend.record()
    sizes = (9000, 9000, 8000, 9100, 20000, 20000, 9000)
    for seed, cells in enumerate(sizes):
        batch = _batch(seed, cells=cells)
        recorded.load_state_dict(launched.state_dict())  # in place: rounding must not add up over the steps
        unpadded.load_state_dict(launched.state_dict())
        launched.backend.recorder.warm.clear()  # type: ignore[attr-defined]
        truth, ours = _step(launched, batch), _step(recorded, batch)
        assert ours.keys() == truth.keys()
        errors = {name: _error(ours[name], truth[name]) for name in truth}
        assert max(errors.values()) < 2e-3, sorted(errors.items(), key=lambda item: -item[1])[:5]
        assert _error(ours["latents"], _step(unpadded, batch)["latents"]) < 6e-2
        with torch.no_grad():
            for parameter in launched.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=0.01)
    assert recorded.backend.recorder.recording is not None  # type: ignore[attr-defined]
    assert launched.backend.recorder.recording is None  # type: ignore[attr-defined]


def test_gradients_of_several_batches_add_up() -> None:
    torch.manual_seed(0)
    launched = build_backbone("MinkUNet18", in_channels=1, out_channels=16, framework="native").cuda()
    recorded = copy.deepcopy(launched)
    batches = [_batch(seed, cells=9000) for seed in range(5)]
    for network in (launched, recorded):
        network.backend.record()
        for batch in batches:
            if network is launched:
                network.backend.recorder.warm = False  # type: ignore[attr-defined]
            if batch is batches[2]:  # recorded by now: what adds up from here on is its own memory
                network.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                latents = network(batch)["latents"]
            latents.float().square().mean().backward()
    for (name, ours), truth in zip(recorded.named_parameters(), launched.parameters(), strict=True):
        assert ours.grad is not None and truth.grad is not None
        assert _error(ours.grad, truth.grad) < 2e-3, name
