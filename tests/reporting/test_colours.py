"""Numbers and classes as colours: ends, order, unknown, and legends that say the same."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from also_selfsup.data.labels import NUSCENES, SEMANTICKITTI
from also_selfsup.reporting.colours import (
    GREY,
    PALETTE,
    Scale,
    class_swatches,
    colour_classes,
    height_scale,
    intensity_scale,
    occupancy_scale,
    rgb,
)
from also_selfsup.reporting.pictures import FREE, OCCUPIED


def test_a_scale_has_its_ends_and_its_grey() -> None:
    scale = Scale(1.0, 3.0, "m", "gray")
    shown = scale.colour(np.array([1, 2, 3, -9, 9, np.nan], np.float32))
    assert shown[[0, 2, 3, 4]].tolist() == [[0] * 3, [255] * 3, [0] * 3, [255] * 3]
    assert abs(int(shown[1, 0]) - 128) <= 1 and shown[5].tolist() == rgb(GREY).tolist()
    legend = scale.legend()
    assert (legend.low, legend.high) == ("1 m", "3 m")
    assert (legend.colours[0], legend.colours[-1]) == ("#000000", "#ffffff")


def test_occupancy_has_the_colours_of_the_pictures() -> None:
    shown = occupancy_scale().colour(np.array([0, 1], np.float32))
    assert shown.tolist() == [rgb(FREE).tolist(), rgb(OCCUPIED).tolist()]
    legend = occupancy_scale().legend()
    assert (legend.low, legend.high) == ("0 free", "1 occupied")


def test_scales_leave_out_the_few_at_the_ends() -> None:
    values = np.linspace(0, 0.5, 1001).astype(np.float32)
    values[-3:] = 1
    assert intensity_scale(values).high == pytest.approx(0.49)
    assert intensity_scale(np.zeros(5, np.float32)).high == 0.01
    scale = height_scale(np.concatenate([values, [90.0]]).astype(np.float32))
    assert scale.low == pytest.approx(0.005, abs=1e-3) and scale.high == pytest.approx(0.495, abs=2e-3)


def test_classes_differ_and_their_legend_agrees() -> None:
    for names in (NUSCENES.names, SEMANTICKITTI.names):
        shown = colour_classes(np.arange(len(names)))
        assert len(np.unique(shown, axis=0)) == len(names)
        apart = np.abs(shown[:, None].astype(int) - shown).sum(2) + 999 * np.eye(len(names), dtype=int)
        assert apart.min() > 30  # of 765
        for number, (colour, name) in enumerate(class_swatches(names, range(len(names))).entries):
            assert name == names[number]
            np.testing.assert_allclose(shown[number] / 255, to_rgb(colour), atol=1 / 255)


def test_more_classes_than_colours_begin_again() -> None:
    shown = colour_classes(np.array([1, len(PALETTE) + 1]))
    assert shown[0].tolist() == shown[1].tolist()
