"""What is told of one file, beside the same told another way."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from also_selfsup.data.examination import (
    DIRECTION,
    RANGE_EDGES,
    Examination,
    describe,
    hidden_share,
    histogram,
    inside_share,
)
from also_selfsup.data.scan import Scan
from also_selfsup.data.semantickitti import SemanticKITTI
from also_selfsup.data.simulator import SENSORS


def hidden_by_hand(way: NDArray[np.float32]) -> float:
    """The share of hidden returns, return by return."""
    cells = []
    for x, y, z in way.tolist():
        depth = math.sqrt(x * x + y * y + z * z)
        if depth > 0.5:
            angles = (math.atan2(y, x), math.asin(z / depth))
            cells.append((*(math.floor(math.degrees(angle) / DIRECTION) for angle in angles), depth))
    hidden = [
        any(other[:2] == cell[:2] and cell[2] > 1.2 * other[2] + 1 for other in cells) for cell in cells
    ]
    return sum(hidden) / len(hidden)


def test_hidden_returns() -> None:
    random = np.random.default_rng(0)
    way = random.uniform((3, -0.05, -0.05), (40, 0.05, 0.05), (200, 3)).astype(np.float32)
    depth = np.linalg.norm(way.astype(np.float64), axis=1)
    found = hidden_share(way, depth)
    assert 0.2 < found < 1 and found == pytest.approx(hidden_by_hand(way), abs=0.02)
    assert hidden_share(way[:1], depth[:1]) == 0.0 and hidden_share(way * 0, depth * 0) == 0.0


def test_a_spinning_sensor_hides_nothing_but_two_joined_ones_do() -> None:
    """Rays of a real arrangement end on a round wall and on the ground."""
    sensor = SENSORS["hdl32e"]
    elevation = np.radians(np.asarray(sensor.elevations, float))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, 600, endpoint=False)
    directions = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        ),
        axis=-1,
    ).reshape(-1, 3)
    fall = np.maximum(-directions[:, 2], 1e-9)
    ahead = 15 / np.maximum(np.linalg.norm(directions[:, :2], axis=1), 1e-9)
    depth = np.minimum(1.8 / fall, ahead)
    pos = directions * depth[:, None]
    scan = Scan(
        pos=pos.astype(np.float32),
        intensities=np.zeros((len(pos), 1), np.float32),
        sensor=np.zeros(3, np.float32),
        name="a",
    )
    alone = describe(scan, seconds=0.1, extent=None, class_count=None)
    assert alone.hidden < 0.01 and alone.height == pytest.approx(1.8, abs=0.02)
    beside = np.concatenate([pos, pos * [0.5, 0.5, 1.0] + [0, 0, 0.9]]).astype(np.float32)
    assert hidden_share(beside, np.linalg.norm(beside, axis=1).astype(np.float64)) > 0.05


def test_histograms_lose_nothing() -> None:
    values = np.array([-1.0, 0.0, 1.9, 2.0, 199.0, 1e6])
    counts = histogram(values, RANGE_EDGES)
    assert counts.sum() == 6 and counts[0] == 3 and counts[1] == 1 and counts[-1] == 2


def test_points_in_the_box() -> None:
    pos = np.array([[0, 0, 0], [1, 1, 1], [0.999, 0, 0], [-0.1, 0, 0]], np.float32)
    assert inside_share(pos, [0, 0, 0, 1, 1, 1]) == 0.5


def test_examination_tells_what_files_hold_and_what_is_wrong(kitti_root: Path) -> None:
    dataset = SemanticKITTI(kitti_root, "val", labels=True)
    label = kitti_root / dataset.label_file(1)
    label.unlink()
    bad = kitti_root / dataset.name(2)
    bad.write_bytes(bad.read_bytes()[:-3])
    (kitti_root / dataset.name(3)).write_bytes((kitti_root / dataset.name(0)).read_bytes())
    first, missing, cut, copy = Examination(dataset)
    assert copy.finding.startswith("dataset/sequences/08/labels/") or copy.digest == first.digest
    scan = dataset[0]
    assert scan.labels is not None and first.label_counts is not None and first.range_counts is not None
    assert (first.count, first.finding, first.seconds > 0) == (len(scan.pos), "", True)
    assert first.label_counts.tolist() == [int((scan.labels == c).sum()) for c in range(20)]
    assert first.range_counts.sum() == first.count
    assert first.farthest == pytest.approx(float(np.linalg.norm(scan.pos, axis=1).max()))
    assert first.intensities == (scan.intensities.min(), scan.intensities.max())
    assert missing.finding == "dataset/sequences/08/labels/000001.label: there is no such file"
    assert "no whole number of points" in cut.finding and "fetch it again" in cut.cure and cut.count == 0


def test_a_bad_file_is_found_even_where_it_would_be_skipped(kitti_root: Path) -> None:
    dataset = SemanticKITTI(kitti_root, "val", on_bad_scan="skip")
    (kitti_root / dataset.name(0)).write_bytes(b"")
    assert dataset[0].skipped
    assert Examination(dataset)[0].finding == "the file is empty"
