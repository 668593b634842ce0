"""The written SemanticPOSS tree: folders of sequences, and classes that lead back to what was hit."""

from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.simulator import simulate
from also_selfsup.data.simulator.job import SceneJob
from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.semanticposs_writer import SemanticPossWriter
from also_selfsup.data.simulator.sensors import SENSORS

# Training label of each raw class: 1 person, 2 rider, 3 car, 4 trunk, 5 plants, 6 traffic sign, 7 pole,
# 8 garbage can, 9 building, 10 cone, 11 fence, 12 bike, 13 ground.
TRAINING = {4: 1, 5: 1, 6: 2, 7: 3, 8: 4, 9: 5, 10: 6, 11: 6, 12: 6, 13: 7, 14: 8, 15: 9, 16: 10, 17: 11}
TRAINING |= {21: 12, 22: 13}
OF_KIND = {
    Kind.PEDESTRIAN: 1, Kind.BICYCLIST: 2, Kind.CAR: 3, Kind.TRUNK: 4, Kind.VEGETATION: 5, Kind.SIGN: 6,
    Kind.POLE: 7, Kind.BUILDING: 9, Kind.FENCE: 11, Kind.BICYCLE: 12, Kind.ROAD: 13, Kind.SIDEWALK: 13,
    Kind.EGO: 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene of each split in SemanticPOSS' layout."""
    root = tmp_path_factory.mktemp("poss")
    scenes = {"train": 2, "val": 1}
    simulate(root, layout="semanticposs", scenes=scenes, frames_per_scene=2, azimuth_steps=200, seed=5)
    return root / "dataset" / "sequences"


def test_every_scan_has_its_labels(sequences: Path) -> None:
    assert sorted(folder.name for folder in sequences.iterdir()) == ["00", "01", "03"]
    for folder in sequences.iterdir():
        assert len((folder / "poses.txt").read_text().splitlines()) == 2
        for number in range(2):
            points = np.fromfile(folder / "velodyne" / f"{number:06d}.bin", "<f4").reshape(-1, 4)
            labels = np.fromfile(folder / "labels" / f"{number:06d}.label", "<u4")
            assert len(points) == len(labels) > 4000
            found = set((labels & 0xFFFF).tolist())
            assert found <= {0, *TRAINING} and {9, 15, 22} <= found
            elevation = np.arcsin(points[:, 2] / np.linalg.norm(points[:, :3], axis=1))
            assert len(np.unique(np.round(np.degrees(elevation), 2))) <= 40


def test_raw_classes_lead_back_to_kinds() -> None:
    writer = SemanticPossWriter()
    sensor = SENSORS["pandora"].with_columns(200)
    job = SceneJob(index=0, name="03", frames=1, interval=0.1, seed=3, version="", sensor=sensor)
    frame = next(job.scans(job.scene()))
    packed = writer.labels(frame)
    training = np.array([TRAINING.get(raw, 0) for raw in (packed & 0xFFFF).tolist()])
    seen = 0
    for kind, label in OF_KIND.items():
        mine = frame.kind == kind
        assert (training[mine] == label).all(), kind
        seen += int(mine.any())
    assert seen > 6
    cars = frame.kind == Kind.CAR
    assert cars.any() and ((packed >> 16)[cars] == frame.object[cars] + 1).all()
    assert writer.names("train", 6, version="") == ["00", "01", "02", "04", "05", "00"]
    with pytest.raises(ValueError, match="split of SemanticPOSS 'test'"):
        writer.names("test", 1, version="")
