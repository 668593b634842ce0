"""The pretext losses against their formulas, pair by pair in plain Python."""

import math

import pytest
import torch

from also_selfsup.losses.occupancy import intensity, reconstruction, weighted_losses

LOGITS = [2.0, -1.0, 0.5, 3.0]
INTENSITIES = [0.3, 0.9, -0.2, 0.6]
QUERIES = [0, 0, 2, 1]
OCCUPANCIES = [1, 0, 0]
TARGETS = [0.5, -1.0, 0.1]  # query 1 has none


def fields(dtype: torch.dtype = torch.float64) -> dict:
    return {
        "occupancy_logits": torch.tensor(LOGITS, dtype=dtype, requires_grad=True),
        "intensity_predictions": torch.tensor(INTENSITIES, dtype=dtype, requires_grad=True),
        "pair_query": torch.tensor(QUERIES),
        "occupancies": torch.tensor(OCCUPANCIES),
        "intensities_non_manifold": torch.tensor(TARGETS, dtype=dtype)[:, None],
    }


def no_pair(dtype: torch.dtype = torch.float64) -> dict:
    empty = {
        key: fields(dtype)[key].detach()[:0].requires_grad_()
        for key in ("occupancy_logits", "intensity_predictions")
    }
    return {**fields(dtype), **empty, "pair_query": torch.zeros(0, dtype=torch.int64)}


def expected_reconstruction() -> float:
    total = 0.0
    for logit, query in zip(LOGITS, QUERIES, strict=True):
        occupied = 1 / (1 + math.exp(-logit))
        total -= math.log(occupied if OCCUPANCIES[query] else 1 - occupied)
    return total / len(LOGITS)


def expected_intensity() -> float:
    misses = [abs(p - TARGETS[q]) for p, q in zip(INTENSITIES, QUERIES, strict=True) if TARGETS[q] >= 0]
    return sum(misses) / len(misses)


def test_weighted_sum_of_both_by_name() -> None:
    losses = weighted_losses(fields(), {"recons": 2.0, "intensity": 0.5})
    assert losses["recons"].item() == pytest.approx(expected_reconstruction(), rel=1e-12)
    assert losses["intensity"].item() == pytest.approx(expected_intensity(), rel=1e-12)
    assert losses["total"].item() == pytest.approx(
        2 * expected_reconstruction() + expected_intensity() / 2, rel=1e-12
    )


def test_gradients() -> None:
    some = fields()
    rest = {key: some[key] for key in ("pair_query", "occupancies")}
    assert torch.autograd.gradcheck(lambda logits: reconstruction(logits, **rest), some["occupancy_logits"])
    loss = intensity(
        some["intensity_predictions"],
        some["pair_query"],
        intensities_non_manifold=some["intensities_non_manifold"],
    )
    loss.backward()
    # |p - t| / 3 for the three pairs with a target: 0.3 < 0.5, 0.9 > 0.5, -0.2 < 0.1; none for the last.
    assert some["intensity_predictions"].grad.tolist() == pytest.approx([-1 / 3, 1 / 3, -1 / 3, 0])


def test_no_pair_and_no_target_cost_nothing() -> None:
    without_target = {**fields(), "intensities_non_manifold": torch.full((3, 1), -1.0)}
    cases = [(no_pair(), "recons"), (no_pair(), "intensity"), (without_target, "intensity")]
    for case, name in cases:
        total = weighted_losses(case, {name: 1.0})["total"]
        total.backward()
        grad = case["occupancy_logits" if name == "recons" else "intensity_predictions"].grad
        assert total.item() == 0 and not grad.any()


def test_targets_of_zero_count() -> None:
    some = {**fields(), "intensities_non_manifold": torch.zeros(3, 1, dtype=torch.float64)}
    assert weighted_losses(some, {"intensity": 1.0})["total"].item() == pytest.approx(
        sum(map(abs, INTENSITIES)) / 4
    )


def test_half_precision_is_summed_in_single() -> None:
    losses = weighted_losses(fields(torch.bfloat16), {"recons": 1.0, "intensity": 1.0})
    assert losses["total"].dtype == torch.float32
    # The logits are exact in bfloat16.
    assert losses["recons"].item() == pytest.approx(expected_reconstruction(), rel=1e-6)


def test_a_weight_of_zero_needs_no_field() -> None:
    some = {key: value for key, value in fields().items() if not key.startswith("intensit")}
    assert weighted_losses(some, {"recons": 1.0, "intensity": 0.0}).keys() == {"recons", "total"}
    with pytest.raises(KeyError, match="'intensity' needs intensity_predictions, intensities_non_manifold"):
        weighted_losses(some, {"recons": 1.0, "intensity": 1.0})


def test_unknown_names_and_no_weight_are_refused() -> None:
    with pytest.raises(ValueError, match="intensity, recons"):
        weighted_losses(fields(), {"reconstruction": 1.0})
    with pytest.raises(ValueError, match="every loss weight is 0"):
        weighted_losses(fields(), {"recons": 0.0})
