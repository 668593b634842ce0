"""The decoder's Triton kernels, run one program after another by Triton's interpreter on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def found(answers_of: Callable[..., Any]) -> dict[str, Any]:
    answers: dict[str, Any] = answers_of(Path(__file__).with_name("decoder_on_the_cpu.py"))
    return answers


def test_search_equals_brute_force(found: dict[str, Any]) -> None:
    assert sum(count for count, _, _ in found["searches"].values()) > 300
    for name, (count, fine, rest_is_empty) in found["searches"].items():
        assert count > 0 and fine and rest_is_empty, name


def test_a_search_costs_the_host_little(found: dict[str, Any]) -> None:
    assert found["one search"] == {"launches": 4, "torch": 13}


def test_draw_is_uniform(found: dict[str, Any]) -> None:
    # Chi-squared with 29 degrees of freedom: above 69 or below 8 with a probability of 4e-5 each.
    assert 8 < found["draws"] < 69


def test_positions_that_are_not_finite_are_refused(found: dict[str, Any]) -> None:
    assert "not finite" in found["refused"]


def test_losses_scores_and_gradients_equal_float64(found: dict[str, Any]) -> None:
    for case, errors in found["single"].items():
        assert len(errors) == 14 + ("intensity" in errors)
        for name, error in errors.items():
            assert error < 1e-4, f"{case}, {name}: {error}"


def test_half_precision_follows(found: dict[str, Any]) -> None:
    for errors in found["half"].values():
        for name, error in errors.items():
            # A ReLU that rounding turns over moves a gradient by a pair's share.
            assert error < (2e-3 if name in ("predictions", "recons", "intensity", "total") else 2e-2), name
