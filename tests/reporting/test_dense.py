"""The decoder's answers against its layers written out, query by query."""

from typing import Any

import numpy as np
import pytest
import torch

from also_selfsup.data.scan import Scan
from also_selfsup.reporting.dense import answer
from also_selfsup.reporting.occupancy import encode
from also_selfsup.settings.run import load
from also_selfsup.training.pretraining import PretrainingModule


@pytest.fixture(scope="module")
def module() -> PretrainingModule:
    module = PretrainingModule(load("demo", ["cfg.network.latent_size=8", "cfg.manifold_points=200"]))
    module.decoder.limit = 10**6  # so that the answer does not depend on a draw of supports
    return module


@pytest.fixture(scope="module")
def fields(module: PretrainingModule) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    pos = generator.uniform(-2, 2, (80, 3)).astype(np.float32)
    strength = generator.random((80, 1), np.float32)
    return encode(module, Scan(pos, strength, np.zeros(3, np.float32), "scan"))


@torch.no_grad()
def written_out(
    module: PretrainingModule, fields: dict[str, Any], query: torch.Tensor, values: torch.Tensor
) -> list[float]:
    """Means over all supports within the radius: probability, intensity, values."""
    relative = query - fields["pos"]
    near = relative.norm(dim=1) < module.decoder.radius
    hidden = module.decoder.fc_in(torch.cat([fields["latents"], relative], dim=1)[near])
    for layer in module.decoder.mlp_layers:
        hidden = layer(hidden.relu())
    predicted = module.decoder.fc_out(hidden)
    columns = [predicted[:, :1].sigmoid(), predicted[:, 1:], values[near]]
    found: list[float] = torch.cat(columns, 1).mean(0).tolist()  # of nothing: NaN
    return found


@pytest.mark.parametrize("chunk", [7, 1000])
def test_answers_are_means_over_the_pairs(
    module: PretrainingModule, fields: dict[str, Any], chunk: int
) -> None:
    queries = torch.rand(60, 3, generator=torch.Generator().manual_seed(1)) * 12 - 6
    values = torch.rand(len(fields["pos"]), 2, generator=torch.Generator().manual_seed(2))
    counted: list[int] = []
    found = answer(module, fields, queries=queries, values=values, chunk=chunk, advance=counted.append)
    expected = torch.tensor([written_out(module, fields, query, values) for query in queries])
    assert 5 < expected[:, 0].isnan().sum() < 55
    joined = torch.cat([found.occupancy[:, None], found.intensity[:, None], found.values], 1)
    torch.testing.assert_close(joined, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    assert sum(counted) == 60 and max(counted) == min(chunk, 60)


def test_nothing_asked(module: PretrainingModule, fields: dict[str, Any]) -> None:
    found = answer(module, fields, queries=torch.zeros(0, 3), values=torch.ones(len(fields["pos"]), 3))
    assert found.occupancy.shape == (0,) and found.values.shape == (0, 3)
