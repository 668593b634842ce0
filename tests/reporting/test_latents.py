"""Latents as colours: the principal components of numpy's own decomposition, of those within reach only."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from also_selfsup.networks import build_decoder
from also_selfsup.reporting.latents import component_colours, principal_components
from also_selfsup.training.pretraining import PretrainingModule

PLACES = torch.full((2, 3), 0.2)


def make_module(size: int) -> PretrainingModule:
    """What is used of one: a decoder that searches, and a seed."""
    decoder = build_decoder("InterpNet", latent_size=size, radius=1.0)
    decoder.limit = 10**6  # all within reach, whatever is drawn
    return cast(PretrainingModule, SimpleNamespace(decoder=decoder, settings=SimpleNamespace(seed=0)))


def make_fields(size: int) -> dict[str, Any]:
    """300 supports near the origin, and 50 with wild latents far away."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(350, size, generator=generator) @ torch.randn(size, size, generator=generator)
    latents[300:] *= 100
    pos = torch.rand(350, 3, generator=generator) * 0.4
    pos[300:] += 50
    return {"latents": latents, "pos": pos, "batch": torch.zeros(350, dtype=torch.int64)}


def test_components_are_those_of_the_supports_within_reach() -> None:
    fields = make_fields(8)
    components, share = principal_components(make_module(8), fields, places=PLACES)
    near = fields["latents"][:300].double().numpy()
    _, strengths, directions = np.linalg.svd(near - near.mean(0), full_matrices=False)
    expected = (near - near.mean(0)) @ directions[:3].T
    for axis in range(3):
        found = components[:300, axis].double().numpy()
        assert abs(np.corrcoef(found, expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-6)
        assert np.quantile(found, [0.02, 0.98]) == pytest.approx([0, 1], abs=1e-4)
    assert share == pytest.approx((strengths[:3] ** 2).sum() / (strengths**2).sum())
    again, _ = principal_components(make_module(8), fields, places=PLACES)
    torch.testing.assert_close(again, components)  # signs are not left to chance


def test_fewer_than_three_channels() -> None:
    components, share = principal_components(make_module(2), make_fields(2), places=PLACES)
    assert components.shape == (350, 3) and share == pytest.approx(1)
    assert (components[:, 2] == 0.5).all()


def test_colours_are_clipped_and_unknown_is_grey() -> None:
    given = np.array([[0, 0.5, 1], [-3, 0.2, 9], [np.nan] * 3], np.float32)
    assert component_colours(given).tolist() == [[0, 128, 255], [0, 51, 255], [153, 153, 153]]
