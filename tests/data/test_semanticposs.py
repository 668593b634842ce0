"""SemanticPOSS: splits, layout, classes, and intensities that are no fractions."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import ScanError
from also_selfsup.data.semanticposs import SemanticPOSS


@pytest.fixture
def poss(tmp_path: Path, write_scan: Callable[..., np.ndarray]) -> Path:
    """Three labelled frames of each of the six sequences; numbers begin with 1."""
    numbers = np.random.default_rng(0)
    for sequence in range(6):
        folder = tmp_path / "dataset" / "sequences" / f"{sequence:02d}"
        (folder / "labels").mkdir(parents=True)
        for frame in (1, 2, 3):
            points = write_scan(folder / "velodyne" / f"{frame:06d}.bin", seed=10 * sequence + frame)
            raw = numbers.integers(0, 23, len(points)) + (numbers.integers(0, 99, len(points)) << 16)
            raw.astype("<u4").tofile(folder / "labels" / f"{frame:06d}.label")
    return tmp_path


def frames(data: SemanticPOSS) -> list[tuple[str, int]]:
    paths = [Path(data.name(index)) for index in range(len(data))]
    return [(path.parts[-3], int(path.stem)) for path in paths]


@pytest.mark.parametrize(
    ("split", "sequences"),
    [("train", ["00", "01", "02", "04", "05"]), ("val", ["03"]), ("trainval", [f"0{n}" for n in range(6)])],
)
def test_splits_are_the_usual_ones(poss: Path, split: str, sequences: list[str]) -> None:
    everything = [(name, frame) for name in sequences for frame in (1, 2, 3)]
    assert frames(SemanticPOSS(poss, split)) == everything
    # Unlike SemanticKITTI's, a tenth is no published list.
    assert frames(SemanticPOSS(poss, split, skip_ratio=10)) == everything[::10]
    assert frames(SemanticPOSS(poss / "dataset", split)) == everything


def test_points_and_labels_are_those_of_the_files(poss: Path) -> None:
    folder = poss / "dataset" / "sequences" / "03"
    points = np.fromfile(folder / "velodyne" / "000002.bin", "<f4").reshape(-1, 4)
    raw = np.fromfile(folder / "labels" / "000002.label", "<u4") & 0xFFFF
    truth = [0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 10, 11, 0, 0, 0, 12, 13]
    scan = SemanticPOSS(poss, "val", labels=True)[1]
    assert np.array_equal(scan.pos, points[:, :3])
    assert np.array_equal(scan.intensities, points[:, 3:])
    assert scan.labels is not None and scan.labels.tolist() == [truth[value] for value in raw.tolist()]


def test_larger_intensities_are_refused_until_their_scale_is_said(poss: Path) -> None:
    path = poss / "dataset" / "sequences" / "03" / "velodyne" / "000001.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    points[:, 3] = np.linspace(0, 250, len(points))
    points.tofile(path)
    with pytest.raises(ScanError, match=r"000001.bin: its intensities reach from 0 to 250.*intensity_scale"):
        SemanticPOSS(poss, "val")[0]
    scan = SemanticPOSS(poss, "val", intensity_scale=250)[0]
    assert np.allclose(scan.intensities[:, 0], np.linspace(0, 1, len(points)))


def test_submissions_read_back_as_the_labels_predicted(poss: Path, tmp_path: Path) -> None:
    data = SemanticPOSS(poss, "val", min_range=0)
    predicted = np.random.default_rng(0).integers(0, 14, len(data[0].pos))
    path = data.write_submission(0, predicted, directory=tmp_path / "out")
    assert path == tmp_path / "out" / "sequences" / "03" / "predictions" / "000001.label"
    (poss / data.label_file(0)).write_bytes(path.read_bytes())
    assert np.array_equal(SemanticPOSS(poss, "val", labels=True, min_range=0)[0].labels, predicted)


def test_missing_sequences_are_told(poss: Path, caplog: pytest.LogCaptureFixture) -> None:
    (poss / "dataset" / "sequences" / "03").rename(poss / "elsewhere")
    (poss / "dataset" / "sequences" / "04").rename(poss / "elsewhere_too")
    with caplog.at_level(logging.WARNING):
        assert len(SemanticPOSS(poss, "trainval")) == 12
    assert "without the sequences 03, 04" in caplog.text
    with pytest.raises(DatasetError, match="no scan of the split val, sequences 03.*poss.pku.edu.cn"):
        SemanticPOSS(poss, "val")
