"""Which frames a task validates on, and which settings reach which data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data import DATASETS
from also_selfsup.data.base import DatasetError
from also_selfsup.data.kitti3d import frame_numbers
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Data, Settings
from also_selfsup.training.datamodule import LidarDataModule, open_dataset, whole_split_loader


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """The first 30 frames of KITTI 3D, one point each: x is the frame's number + 1."""
    folder = tmp_path / "training" / "velodyne"
    folder.mkdir(parents=True)
    for number in range(30):
        np.array([number + 1, 0, 0, 0.5], "<f4").tofile(folder / f"{number:06d}.bin")
    return tmp_path


def settings_of(root: Path, name: str, **data: object) -> Settings:
    base = load("semantickitti", [f"cfg.dataset_root={root}", f"cfg.dataset_name={name}", "cfg.threads=0"])
    return replace(base, data=Data(**data))  # type: ignore[arg-type]


def validated(settings: Settings) -> list[int]:
    """Frame numbers in the order in which pre-training validates on them."""
    loader = LidarDataModule(settings, labels=False).val_dataloader()
    return [int(x) - 1 for batch in loader for x in batch["pos"][:, 0].tolist()]


def test_pretraining_validates_on_the_frames_that_are_asked_for(kitti: Path) -> None:
    everything = validated(settings_of(kitti, "KITTI3D"))
    assert len(everything) > 10 and everything == sorted(everything)
    assert validated(settings_of(kitti, "KITTI3D", val_stride=3)) == everything[::3]
    assert validated(settings_of(kitti, "KITTI3D", val_frames=4)) == everything[:4]
    assert validated(settings_of(kitti, "KITTI3D", val_stride=3, val_frames=2)) == everything[::3][:2]
    assert validated(settings_of(kitti, "KITTI3D", val_stride=999)) == everything[:1]


def test_processes_share_these_frames(kitti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(kitti, "KITTI3D", val_stride=3)
    everything = validated(settings)
    found = []
    for rank in range(2):
        monkeypatch.setattr(LidarDataModule, "_processes", lambda _, rank=rank: (2, rank))
        found.append(validated(settings))
    assert found == [everything[0::2], everything[1::2]]


def test_every_20th_frame_of_the_list_is_the_189_of_the_published_code(shared_data: Path) -> None:
    listed = (shared_data / "also_lists" / "kitti3d_val.txt").read_text().split()
    assert [f"{number:06d}" for number in frame_numbers()["val"][::20]] == listed[::20]
    assert len(listed[::20]) == 189


def test_training_frames_and_scores_know_no_stride(kitti: Path, street: Path) -> None:
    module = LidarDataModule(settings_of(kitti, "KITTI3D", val_stride=9), labels=False)
    assert len(module.train_set) == len(open_dataset(module.settings, "train", labels=False)) > 10
    settings = load(
        "nuscenes", [f"cfg.dataset_root={street}", "cfg.data.val_stride=2", "cfg.data.val_frames=1"]
    )
    settings = replace(settings, downstream=replace(settings.downstream, train_split="train"))
    assert len(LidarDataModule(settings, labels=False).val_indices) == 1
    assert len(LidarDataModule(settings, labels=True).val_indices) == 2


def test_scales_and_columns_reach_the_data_sets_that_take_them(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "0.txt", [[3.0, 1, 2, 64]])
    settings = settings_of(
        tmp_path, "LivoxSimu", columns=["z", "x", "y", "intensity"], intensity_scale=128.0, min_range=0.0
    )
    scan = open_dataset(settings, "all", labels=False)[0]
    assert scan.pos.tolist() == [[1, 2, 3]] and scan.intensities.tolist() == [[0.5]]


def test_settings_that_a_data_set_does_not_take_are_refused(kitti: Path) -> None:
    with pytest.raises(SettingsError, match=r"cfg.data.columns=\['x'\]: KITTI3D does not take it; LivoxSimu"):
        open_dataset(settings_of(kitti, "KITTI3D", columns=["x"]), "train", labels=False)
    with pytest.raises(SettingsError, match="cfg.data.intensity_scale=2.0: KITTI3D does not take it; ONCE, "):
        open_dataset(settings_of(kitti, "KITTI3D", intensity_scale=2.0), "train", labels=False)


@pytest.mark.parametrize("name", [name for name, kind in DATASETS.items() if kind.label_map is None])
def test_data_sets_without_labels_refuse_fine_tuning_and_evaluation(name: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, name)
    with pytest.raises(DatasetError, match=f"{name} has no point labels"):
        LidarDataModule(settings, labels=True)
    for labels in (True, False):
        with pytest.raises(DatasetError, match=f"{name} has no point labels"):
            whole_split_loader(settings, "val", labels=labels)
