"""What was answered at earlier epochs: kept, and chosen for the strip."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from also_selfsup.data.scan import Scan
from also_selfsup.reporting import epoch_strip
from also_selfsup.reporting.epoch_strip import keep, kept, spread, strip_picture
from also_selfsup.reporting.occupancy import Plane

PLANE = Plane(across="z", at=0.0, horizontal=(0, 5), vertical=(0, 3), cell=1.0)
SCAN = Scan(
    pos=np.ones((1, 3), np.float32),
    intensities=np.ones((1, 1), np.float32),
    sensor=np.zeros(3, np.float32),
    name="a",
)


def answer(value: float) -> np.ndarray:
    found = np.full(PLANE.shape, value, np.float32)
    found[0, 0] = np.nan
    return found


def test_answers_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((7, 5), np.float32)
    values[2, 3] = np.nan
    keep(tmp_path / "deep", 4, number=1, answer=values)
    keep(tmp_path / "deep", 12, number=1, answer=values)
    keep(tmp_path / "deep", 5, number=11, answer=values)
    found = kept(tmp_path / "deep", number=1, last=11)
    assert list(found) == [4]
    np.testing.assert_allclose(found[4], values, atol=0.5 / 254 + 1e-6)
    assert list(kept(tmp_path / "deep", number=1, last=12)) == [4, 12]
    assert kept(tmp_path / "absent", number=1, last=12) == {}


def test_epochs_are_spread_from_first_to_last() -> None:
    assert spread([3]) == [3]
    assert spread([3, 8]) == [3, 8]
    assert spread(list(range(0, 100, 5)), 4) == [0, 30, 65, 95]


def test_strip_has_a_row_a_scan_and_a_column_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(epoch_strip, "save", lambda figure, path: drawn.append(figure) or path)
    answers = [{0: answer(0.1), 4: answer(0.5), 9: answer(0.9)}, {4: answer(0.4), 9: answer(0.8)}]
    strip_picture([SCAN, SCAN], [PLANE, PLANE], answers=answers, path=tmp_path / "s.png")
    shown = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["after epoch 5", "after epoch 10", "", ""]
    middles = [float(axes.images[0].get_array()[1, 1]) for axes in shown]
    np.testing.assert_allclose(middles, [0.5, 0.9, 0.4, 0.8])
