"""Learning curves: what is read from the logs, and what is drawn of it."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from also_selfsup.reporting import curves
from also_selfsup.reporting.curves import Curve, Panel, curve_picture


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("epoch,step,loss,iou\n0,5,2.0,\n1,10,1.0,0.5\n2,15,0.5,0.6\n")
    second.write_text("epoch,step,loss,iou\n0,5,4.0,0.1\n1,10,2.0,0.3\n")
    return [first, second]


def test_reads_the_steps_that_all_runs_have(logs: list[Path]) -> None:
    steps, values = Curve("c", logs, "loss").read()
    np.testing.assert_array_equal(steps, [5, 10])
    np.testing.assert_array_equal(values, [[2, 1], [4, 2]])
    steps, values = Curve("c", logs, "iou", scale=100).read()  # the first run has none at step 5
    np.testing.assert_array_equal(steps, [10])
    np.testing.assert_allclose(values, [[50], [30]])


def test_names_what_is_missing(logs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv has no column miou; it has epoch, step, loss, iou"):
        Curve("c", logs, "miou").read()
    with pytest.raises(ValueError, match="no step with loss"):
        Curve("c", [*logs, tmp_path / "absent.csv"], "loss").read()


def test_draws_mean_range_and_units(
    logs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(curves, "save", lambda figure, path: drawn.append(figure) or path)
    curve_picture([Panel("Loss", "nats", [Curve("both", logs, "loss")])], tmp_path / "c.png")
    axes = drawn[0].axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3.0, 1.5])
    corners = axes.collections[0].get_paths()[0].vertices
    assert {(5, 2), (5, 4), (10, 1), (10, 2)} <= {tuple(map(int, corner)) for corner in np.asarray(corners)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimiser steps", "nats")
    legend = axes.get_legend()
    assert legend is not None and "2 seeds" in legend.get_texts()[0].get_text()


def test_writes_a_png(logs: list[Path], tmp_path: Path) -> None:
    panels = [Panel("Loss", "nats", [Curve("one", logs[:1], "loss")])] * 2
    path = curve_picture(panels, tmp_path / "deep" / "c.png")
    assert path.read_bytes().startswith(b"\x89PNG")
