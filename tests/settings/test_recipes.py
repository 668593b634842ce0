"""The recipes hold the values of the published experiments (CVPR 2023, section 4 and its configurations)."""

import dataclasses
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from also_selfsup.settings.files import flat_values
from also_selfsup.settings.run import load, recipes
from also_selfsup.settings.schema import Settings

COMMON = {
    "training.lr": 0.001,
    "training.weight_decay": 0.01,  # torch's default for AdamW
    "downstream.lr": 0.001,
    "downstream.val_split": "val",
    "network.decoder": "InterpNet",
    "network.latent_size": 128,
    "network.radius": 1.0,
    "network.column_search": False,
    "loss.recons_lambda": 1.0,
    "loss.intensity_lambda": 1.0,
    "transforms.query_distance": 0.1,
    "transforms.rotation": True,
    "transforms.flip": True,
    "val_interval": 5,
    "threads": 6,
}
SECOND = {
    "network.backbone": "SECOND",
    "network.column_search": True,
    "inputs": ["pos", "intensities"],
    "transforms.grid_size": 0.05,
    "manifold_points": 80000,
    "non_manifold_points": 4096,
    "training.batch_size": 8,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "nuscenes": {
        "dataset_name": "NuScenes",
        "dataset_root": "data/nuscenes",
        "network.backbone": "MinkUNet34",
        "inputs": ["intensities"],
        "network.voxel_size": 0.1,
        "transforms.grid_size": 0.1,
        "manifold_points": 16384,
        "non_manifold_points": 2048,
        "training.max_epochs": 200,
        "training.batch_size": 16,
        "train_split": "parametrizing",
        "val_split": "verifying",
        "downstream.batch_size": 8,
    },
    "semantickitti": {
        "dataset_name": "SemanticKITTI",
        "dataset_root": "data/SemanticKITTI",
        "network.backbone": "MinkUNet18SC",
        "inputs": ["pos", "intensities"],
        "network.voxel_size": 0.05,
        "transforms.grid_size": 0.05,
        "manifold_points": 80000,
        "non_manifold_points": 4096,
        "training.max_epochs": 50,
        "training.batch_size": 4,
        "train_split": "train",
        "val_split": "val",
        "downstream.batch_size": 2,
    },
    "kitti3d_second": {
        **SECOND,
        "dataset_name": "KITTI3D",
        "dataset_root": "data/KITTI_detection",
        "network.voxel_size": [0.05, 0.05, 0.1],
        "network.extent": [0, -40, -3, 70.4, 40, 1],
        "training.max_epochs": 500,
        "train_split": "train",
        "val_split": "val",
        "data.val_stride": 20,  # 189 of 3769 frames
        "data.val_frames": None,
    },
    "kitti360_second": {
        **SECOND,
        "dataset_name": "KITTI360",
        "dataset_root": "data/KITTI-360",
        "network.voxel_size": [0.05, 0.05, 0.1],
        "network.extent": [0, -40, -3, 70.4, 40, 1],
        "training.max_epochs": 75,
        "train_split": "train",
        "val_split": "val",
        "data.val_stride": 1,
        "data.val_frames": None,
    },
    "once_raw_small_second": {
        **SECOND,
        "dataset_name": "ONCE",
        "dataset_root": "data/once",
        "network.voxel_size": [0.1, 0.1, 0.2],
        "network.extent": [-75.2, -75.2, -5, 75.2, 75.2, 3],
        "training.max_epochs": 40,
        "train_split": "raw_small",
        "val_split": "val",
        "data.val_stride": 1,
        "data.val_frames": 100,
        "data.intensity_scale": 255,
    },
    "semanticposs": {
        "dataset_name": "SemanticPOSS",
        "network.backbone": "MinkUNet18SC",
        "network.voxel_size": 0.05,
        "transforms.grid_size": 0.05,
        "manifold_points": 80000,
        "training.max_epochs": 50,
        "train_split": "train",
        "val_split": "val",
        "downstream.train_split": "train",
    },
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_published_values(recipe: str) -> None:
    found = flat_values(load(recipe))
    expected = {**COMMON, **PUBLISHED[recipe], "name": recipe}
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_composes_under_its_own_name(recipe: str) -> None:
    assert load(recipe).name == recipe


def test_defaults_are_the_nuscenes_recipe_but_for_its_splits() -> None:
    defaults, recipe = flat_values(Settings()), flat_values(load("nuscenes"))
    assert {key for key in recipe if recipe[key] != defaults[key]} <= {"downstream.train_split"}


def every_option(group: Any, path: str) -> list[tuple[str, Any]]:
    found = []
    for item in fields(group):
        found.append((f"{path}.{item.name}", item))
        if is_dataclass(value := getattr(group, item.name)):
            found += every_option(value, f"{path}.{item.name}")
    return found


@pytest.mark.parametrize(("key", "item"), every_option(Settings(), "cfg"))
def test_every_option_is_documented(key: str, item: Any) -> None:
    doc = item.metadata["doc"]
    assert 5 <= len(doc) <= 110 and not doc.endswith("."), key


def test_settings_cannot_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("demo").training.lr = 1.0  # type: ignore[misc]
