"""Tables over label fractions against numbers computed by hand from the counts."""

import csv
import math
from pathlib import Path

import pytest

from also_selfsup.reporting.efficiency import (
    cell_rows,
    class_table,
    cost_table,
    groups_of,
    mean_spread,
    score_table,
)
from also_selfsup.reporting.efficiency_files import markdown, write_tables
from also_selfsup.training.cells import Outcome

NAMES = ["ignore", "car", "road", "bus"]


def run(
    start: str, seed: int, *, car: int, road: int, fraction: float = 0.1, peak: float | None = None
) -> Outcome:
    """100 points of car and of road each, so many of them right, the others taken for one another; no bus."""
    return Outcome(
        head="finetune",
        fraction=fraction,
        start=start,
        seed=seed,
        class_names=NAMES,
        counts=[[7, 3, 9, 1], [0, car, 100 - car, 0], [0, 100 - road, road, 0], [0, 0, 0, 0]],
        scans=12,
        epochs=3,
        steps=6,
        train_seconds=10.0 * seed,
        score_seconds=2.0,
        peak_gib=peak,
        device="CPU",
    )


# IoU of car is car / (200 - road), of road road / (200 - car). Both equal: 50 of 150 is 33.3, 60 of 140 is
# 42.9, 80 of 120 is 66.7, 90 of 110 is 81.8 percent.
RUNS = [
    run("scratch", 1, car=50, road=50),
    run("weights", 1, car=80, road=80, peak=1.5),
    run("scratch", 2, car=60, road=60),
    run("weights", 2, car=90, road=90, peak=2.5),
    run("weights", 3, car=50, road=50, peak=2.0),  # its partner from scratch is not finished
    run("scratch", 1, car=80, road=80, fraction=1.0),
]


def test_mean_spread_and_paired_gain_by_hand() -> None:
    rows = score_table(groups_of(RUNS))
    assert rows[0] == ["labels", "scans", "seeds", "scratch", "weights", "gain of weights"]
    # (33.33 + 42.86) / 2, half their difference times the root of two; three scores of the other start.
    scratch = f"{(100 / 3 + 300 / 7) / 2:.1f} ± {(300 / 7 - 100 / 3) / math.sqrt(2):.1f}"
    assert scratch == "38.1 ± 6.7"
    mean = (200 / 3 + 900 / 11 + 100 / 3) / 3
    spread = math.sqrt(sum((x - mean) ** 2 for x in (200 / 3, 900 / 11, 100 / 3)) / 2)
    gains = (200 / 3 - 100 / 3, 900 / 11 - 300 / 7)
    gain = f"+{sum(gains) / 2:.1f} ± {abs(gains[0] - gains[1]) / math.sqrt(2):.1f}"
    assert gain == "+36.1 ± 4.0"
    assert rows[1] == ["10 %", "12", "2–3", scratch, f"{mean:.1f} ± {spread:.1f}", gain]
    assert rows[2] == ["100 %", "12", "1", "66.7", "", ""]


def test_classes_by_hand() -> None:
    uneven = [run("scratch", 1, car=50, road=100), run("weights", 1, car=80, road=100)]
    rows = {row[0]: row[1:] for row in class_table(groups_of(uneven))}
    assert rows["class"] == ["scratch", "weights", "gain of weights"]
    assert rows["car"] == ["50.0", "80.0", "+30.0"]
    assert rows["road"] == [f"{100 / 1.5:.1f}", f"{100 / 1.2:.1f}", f"+{100 / 1.2 - 100 / 1.5:.1f}"]
    assert rows["bus"] == ["–", "–", "–"] and "ignore" not in rows


def test_costs_are_means_over_the_seeds() -> None:
    rows = cost_table(groups_of(RUNS))
    assert rows[1] == ["finetune", "10 %", "scratch", "12", "3", "6", "15", "2", ""]
    assert rows[2] == ["finetune", "10 %", "weights", "12", "3", "6", "20", "2", "2.0"]


def test_files_hold_the_same_numbers(tmp_path: Path) -> None:
    page, groups, runs, picture = write_tables(tmp_path / "new", RUNS, title="street", planned=9)
    text = page.read_text(encoding="utf-8")
    assert "6 of 9 runs are finished" in text and "| 10 % | 12 | 2–3 | 38.1 ± 6.7 |" in text
    assert (
        "* 10 %, weights: Pre-training helped here: +36.1 ± 4.0 points of mIoU over 2 paired seeds." in text
    )
    with groups.open(encoding="utf-8") as file:
        rows = {(row["fraction"], row["start"]): row for row in csv.DictReader(file)}
    assert float(rows["0.1", "scratch"]["miou_mean"]) == pytest.approx((100 / 3 + 300 / 7) / 2)
    assert rows["0.1", "weights"]["gain_count"] == "2" and rows["1.0", "scratch"]["miou_spread"] == ""
    with runs.open(encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert float(first["miou"]) == pytest.approx(100 / 3) and first["iou bus"] == ""
    assert len(cell_rows(RUNS)) == 6
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_words_of_numbers() -> None:
    assert (
        mean_spread([]) == "–" and mean_spread([math.nan]) == "–" and mean_spread([2.04], sign="+") == "+2.0"
    )
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---:|\n| 1 | 2 |"
