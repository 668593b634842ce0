"""The decoder against the plain formula: each pair's latent and relative position, then the layers."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from also_selfsup.networks import InterpNet, build_decoder

LATENT_SIZE = 8


def make_batch(*, column: bool = False, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    pos = torch.randn(50, 3, generator=generator, dtype=dtype)
    batch = {
        "pos": pos,
        "batch": torch.arange(50) // 25,
        "latents": torch.randn(50, LATENT_SIZE, generator=generator, dtype=dtype).requires_grad_(),
        "pos_non_manifold": torch.randn(20, 3, generator=generator, dtype=dtype),
        "pos_non_manifold_batch": torch.arange(20) // 10,
    }
    if column:
        cells = torch.cat([pos[:, :2], torch.zeros(50, 1, dtype=dtype)], dim=1)
        batch |= {
            "latents_pos": cells,
            "latents_batch": batch["batch"],
            "pos": pos[:3],
            "batch": batch["batch"][:3],
        }
    return batch


def decoder(**options: Any) -> InterpNet:
    torch.manual_seed(1)
    return build_decoder("InterpNet", latent_size=LATENT_SIZE, **options).double()


def naive(net: InterpNet, latents: Tensor, relative: Tensor) -> Tensor:
    weights = dict(net.named_parameters())
    hidden = torch.cat([latents, relative], dim=1) @ weights["fc_in.weight"].T + weights["fc_in.bias"]
    for index in (0, 1):
        layer = f"mlp_layers.{index}"
        hidden = hidden.clamp(min=0) @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
    return hidden @ weights["fc_out.weight"].T + weights["fc_out.bias"]


@pytest.mark.parametrize("column", [False, True])
def test_equals_the_plain_formula_and_its_gradients(column: bool) -> None:
    net, batch = decoder(column_search=column), make_batch(column=column)
    results = net(batch)
    support_pos = batch["latents_pos" if column else "pos"]
    query, support = results["pair_query"], results["pair_support"]
    relative = batch["pos_non_manifold"][query] - support_pos[support]
    expected = naive(net, batch["latents"][support], relative)
    assert len(query) > 30
    torch.testing.assert_close(results["predictions"], expected, rtol=0, atol=1e-12)
    assert results["occupancy_logits"].equal(results["predictions"][:, 0])
    assert results["intensity_predictions"].equal(results["predictions"][:, 1])
    inputs = [batch["latents"], *net.parameters()]
    found = torch.autograd.grad(results["predictions"].square().sum(), inputs)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("column", [False, True])
def test_pairs_are_those_within_the_radius(column: bool) -> None:
    batch = make_batch(column=column)
    results = decoder(column_search=column, radius=0.8)(batch)
    axes = 2 if column else 3
    support_pos, support_batch = (
        (batch["latents_pos"], batch["latents_batch"]) if column else (batch["pos"], batch["batch"])
    )
    near = torch.cdist(batch["pos_non_manifold"][:, :axes], support_pos[:, :axes]) < 0.8
    near &= batch["pos_non_manifold_batch"][:, None] == support_batch
    pairs = torch.stack([results["pair_query"], results["pair_support"]], dim=1)
    assert set(map(tuple, pairs.tolist())) == set(map(tuple, near.nonzero().tolist()))


def test_an_earlier_search_is_used_and_the_generator_decides_the_cap() -> None:
    net, batch = decoder(radius=5.0), make_batch()
    found = net.search(batch, torch.Generator().manual_seed(3))
    again = net(batch, torch.Generator().manual_seed(3))
    reused = net({**batch, **found})
    assert found["pair_query"].bincount().max() <= 32 < 50
    assert again["pair_support"].equal(reused["pair_support"])
    assert again["predictions"].equal(reused["predictions"])


def test_batch_is_left_as_it_was() -> None:
    batch = make_batch()
    before = {key: value.detach().clone() for key, value in batch.items()}
    decoder()(batch)
    assert batch.keys() == before.keys() and all(batch[key].equal(before[key]) for key in before)


def test_no_pair_gives_zero_gradients() -> None:
    net, batch = decoder(radius=1e-6), make_batch()
    results = net(batch)
    results["predictions"].sum().backward()
    assert results["predictions"].shape == (0, 2)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in net.parameters())


def test_occupancy_alone_and_unknown_outputs() -> None:
    results = decoder(out_channels=1)(make_batch())
    assert results["predictions"].shape[1] == 1 and "intensity_predictions" not in results
    with pytest.raises(ValueError, match="out_channels=3"):
        decoder(out_channels=3)


def test_bfloat16_stays_near_single_precision() -> None:
    net, batch = decoder().float(), make_batch(dtype=torch.float32)
    exact = net(batch, torch.Generator().manual_seed(0))["predictions"]
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(batch, torch.Generator().manual_seed(0))["predictions"]
    assert rough.dtype == torch.bfloat16
    relative_error = functional.mse_loss(rough.float(), exact).sqrt() / exact.std()
    assert relative_error < 0.02
