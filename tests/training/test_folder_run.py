"""The recipe of a folder: two steps on scans of which only the files are known; fine-tuning is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from also_selfsup.data.base import DatasetError
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import load
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.datamodule import LidarDataModule, open_dataset

# Scans of the layout of nuScenes, without its tables.
FOLDER = ["cfg.data.val_every=3", "cfg.network.framework=native", "cfg.trainer.max_steps=2"]


def test_two_steps_on_a_folder(street: Path, tiny: Callable[..., list[str]]) -> None:
    settings = load("folder", tiny(*FOLDER, f"cfg.dataset_root={street}/samples"))
    data = LidarDataModule(settings, labels=False)
    assert (len(data.train_set), len(data.val_set)) == (4, 2)
    run = pretrain(settings)
    state = torch.load(run.last, weights_only=True)
    assert state["global_step"] == 2
    weights = [value for name, value in state["state_dict"].items() if name.startswith("backbone.")]
    assert weights and all(torch.isfinite(value).all() for value in weights)


def test_fine_tuning_on_a_folder_is_refused(street: Path, tiny: Callable[..., list[str]]) -> None:
    settings = load("folder", tiny(*FOLDER, f"cfg.dataset_root={street}/samples"))
    with pytest.raises(DatasetError, match="no point labels"):
        LidarDataModule(settings, labels=True)


def test_settings_of_a_folder_are_for_folders(street: Path, tiny: Callable[..., list[str]]) -> None:
    given = ["cfg.data.columns=[x,y,z,i,_]", "cfg.data.intensity_scale=510", "cfg.data.sensor_origin=[0,0,1]"]
    settings = load("folder", tiny(*FOLDER, *given, f"cfg.dataset_root={street}/samples"))
    scan = open_dataset(settings, "all", labels=False)[0]
    assert scan.sensor.tolist() == [0, 0, 1] and 0 < scan.intensities.max() <= 0.5
    with pytest.raises(SettingsError, match=r"cfg.data.sensor_origin=\[0.*NuScenes does not take it; Folder"):
        open_dataset(load("nuscenes", tiny("cfg.data.sensor_origin=[0,0,1]")), "train", labels=False)
