"""The written ONCE tree: info files that name the scans, intensities as mixed as the real ones."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.simulator import simulate
from also_selfsup.data.simulator.once_writer import OnceWriter


@pytest.fixture(scope="module")
def once_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of raw_small and one of val, of two frames each."""
    root = tmp_path_factory.mktemp("once")
    scenes = {"raw_small": 2, "val": 1}
    return simulate(root, layout="once", scenes=scenes, frames_per_scene=2, azimuth_steps=200, seed=5)


@pytest.mark.parametrize(("split", "sequences"), [("raw_small", ["000000", "000001"]), ("val", ["002000"])])
def test_info_files_name_every_scan(once_root: Path, split: str, sequences: list[str]) -> None:
    assert (once_root / "ImageSets" / f"{split}.txt").read_text().split() == sequences
    infos = pickle.loads((once_root / f"once_infos_{split}.pkl").read_bytes())
    assert [info["sequence_id"] for info in infos] == [name for name in sequences for _ in range(2)]
    for name in sequences:
        frames = [info["frame_id"] for info in infos if info["sequence_id"] == name]
        there = sorted(path.stem for path in (once_root / "data" / name / "lidar_roof").iterdir())
        assert frames == there and int(frames[1]) - int(frames[0]) == 500
        described = json.loads((once_root / "data" / name / f"{name}.json").read_text())
        assert [frame["frame_id"] for frame in described["frames"]] == frames


def test_scans_are_those_of_forty_beams(once_root: Path) -> None:
    for path in (once_root / "data").rglob("*.bin"):
        points = np.fromfile(path, "<f4").reshape(-1, 4)
        assert len(points) > 4000 and np.isfinite(points).all()
        distance = np.linalg.norm(points[:, :3], axis=1)
        assert distance.max() < 201
        elevation = np.degrees(np.arcsin(points[:, 2] / distance))
        assert len(np.unique(np.round(elevation, 2))) <= 40
        bright = points[:, 3] > 1
        assert 0 < bright.mean() < 0.1 and points[:, 3].max() <= 242
        np.testing.assert_allclose(points[~bright, 3] * 100, np.round(points[~bright, 3] * 100), atol=1e-3)


def test_sequences_are_numbered_by_split() -> None:
    writer = OnceWriter()
    assert writer.names("train", 2, version="") == ["001000", "001001"]
    with pytest.raises(ValueError, match="split of ONCE 'training'.*raw_small"):
        writer.names("training", 1, version="")
    with pytest.raises(ValueError, match="at most 1000 sequences"):
        writer.names("val", 1001, version="")
