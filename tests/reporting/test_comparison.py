"""Paired comparison: numbers recomputed by hand from the counts, and sentences that follow them."""

import math

import pytest
import torch
from torch import Tensor

from also_selfsup.reporting.comparison import Comparison

NAMES = ("ignore", "car", "road", "bus")


def counts(car: int, road: int) -> Tensor:
    """100 points of car and of road each, so many of them right, the others taken for one another; no bus."""
    return torch.tensor(
        [[7, 3, 9, 1], [0, car, 100 - car, 0], [0, 100 - road, road, 0], [0, 0, 0, 0]], dtype=torch.int64
    )


def miou(car: int, road: int) -> float:
    return 100 * (car / (200 - road) + road / (200 - car)) / 2


def compare(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> Comparison:
    return Comparison(range(len(before)), [counts(*c) for c in before], [counts(*c) for c in after], NAMES)


def test_gains_are_differences_of_the_pairs() -> None:
    comparison = compare([(50, 60), (90, 80)], [(60, 60), (85, 80)])
    expected = [miou(60, 60) - miou(50, 60), miou(85, 80) - miou(90, 80)]
    assert comparison.gains == pytest.approx(expected)


def test_rows_hold_mean_spread_and_every_seed() -> None:
    comparison = compare([(50, 60), (90, 80)], [(60, 60), (85, 80)])
    scratch, pretrained, gain = comparison.rows()
    first, second = miou(50, 60), miou(90, 80)
    spread = abs(first - second) / math.sqrt(2)  # standard deviation of two values
    assert scratch[1:] == [f"{(first + second) / 2:.1f} ± {spread:.1f}", f"{first:.1f}", f"{second:.1f}"]
    assert pretrained[2:] == [f"{miou(60, 60):.1f}", f"{miou(85, 80):.1f}"]
    assert gain[2].startswith("+") and gain[3].startswith("-")
    assert len(comparison.header()) == len(scratch) == 4


@pytest.mark.parametrize(
    ("after", "words", "others"),
    [
        ([(70, 70), (71, 70), (70, 71)], ["Pre-training helped"], ["did not help"]),
        ([(30, 30), (31, 30), (30, 31)], ["did not help", "hurt"], ["Pre-training helped"]),
        (
            [(70, 70), (30, 30), (51, 50)],
            ["did not help", "within the spread"],
            ["Pre-training helped", "hurt"],
        ),
    ],
)
def test_the_sentence_follows_the_numbers(
    after: list[tuple[int, int]], words: list[str], others: list[str]
) -> None:
    verdict = compare([(50, 50)] * 3, after).verdict()
    assert all(word in verdict for word in words)
    assert not any(word in verdict for word in others)


def test_one_seed_claims_nothing() -> None:
    verdict = compare([(50, 50)], [(90, 90)]).verdict()
    assert "one seed" in verdict
    assert "helped" not in verdict
    assert "±" not in compare([(50, 50)], [(90, 90)]).rows()[0][1]


def test_a_class_without_labels_has_no_score() -> None:
    rows = {row[0]: row[1:] for row in compare([(50, 60)], [(60, 60)]).class_rows()}
    assert rows["bus"] == ["–", "–", "–"]
    assert rows["car"][0] == f"{100 * 50 / 140:.1f}"
    assert "ignore" not in rows


def test_starts_must_be_paired() -> None:
    with pytest.raises(ValueError, match="one of each a seed"):
        Comparison([1, 2], [counts(1, 1)], [counts(1, 1), counts(1, 1)], NAMES)
