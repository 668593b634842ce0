"""config.yaml: what a run writes is what it had; what the published code wrote is understood."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from also_selfsup.settings.files import load_settings, save_settings
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import load, recipes, to_settings

PUBLISHED = """
experiment_name: nuscenes_from_before
seed: 3
device: cuda
ignore_class: 0
threads: 8
dataset_name: NuScenes
dataset_root: data/nuscenes
save_dir: results
train_split: parametrizing
val_split: verifying
inputs:
- intensities
manifold_points: 16384
non_manifold_points: 2048
val_interval: 5
resume: null
voxel_size: 0.1
transforms:
  grid_dec: ${voxel_size}
  data_augmentation: {rotate: [z], flip: [x]}
network:
  backbone: MinkUNet34
  decoder: InterpNet
  framework: torchsparse
  latent_size: 128
  backbone_params: {}
  decoder_params: {column_search: false}
training:
  batch_size: 16
  lr: 0.001
  max_epochs: 200
  optimizer: AdamW
loss:
  recons_lambda: 1.0
  intensity_lambda: 1.0
unresolved: ${nothing.of.this.name}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", recipes())
def test_what_is_saved_is_read(tmp_path: Path, recipe: str, caplog: pytest.LogCaptureFixture) -> None:
    before = load(recipe, ["cfg.network.voxel_size=[0.1,0.1,0.1]", "cfg.training.lr=1e-5"])
    save_settings(before, tmp_path / "run" / "config.yaml")
    assert load_settings(tmp_path / "run" / "config.yaml") == before
    assert not caplog.records  # every key is known


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1).filter(
        lambda name: name.strip() and name not in (".", "..") and "/" not in name  # the others are refused
    ),
    lr=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    resume=st.none() | st.sampled_from(["null", "~", "true", "1e3", "a: b", "# x", "é", " x ", "auto"]),
)
def test_any_value_survives(tmp_path: Path, name: str, lr: float, resume: str | None) -> None:
    before = to_settings({"name": name.replace("$", "_"), "training": {"lr": lr}, "resume": resume})
    save_settings(before, tmp_path / "config.yaml")
    assert load_settings(tmp_path / "config.yaml") == before


def test_file_of_the_published_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = load_settings(written(tmp_path, PUBLISHED))
    assert found.name == "nuscenes_from_before" and found.network.framework == "torchsparse"
    assert found.network.voxel_size == 0.1 and found.transforms.grid_size == 0.1
    assert found.seed == 3 and found.threads == 8 and found.training.batch_size == 16
    (message,) = caplog.messages
    unused = message.partition("not used: ")[2].split(", ")
    assert unused == [
        "device",
        "ignore_class",
        "training.optimizer",
        "transforms.data_augmentation.flip",
        "transforms.data_augmentation.rotate",
        "unresolved",
    ]


def test_settings_under_the_key_cfg(tmp_path: Path) -> None:
    found = load_settings(written(tmp_path, "cfg: {seed: 5, save_dir: '${cfg.name}', name: kept}"))
    assert found.seed == 5 and found.save_dir == "kept"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [", "not a YAML file"),
        ("seed: 1\nseed: 2", "not a YAML file"),
        ("!!python/object/apply:os.getcwd []", "not a YAML file"),
        ("- 1\n- 2", "expected settings as key: value, found ListConfig"),
        ("cfg: 3", "expected settings as key: value, found int"),
        ("", "holds no setting of a run; its keys are none"),
        ("learning: 3", "holds no setting of a run; its keys are learning"),
        ("training: {batch_size: many}", r"cfg\.training\.batch_size=many: expected int"),
        ("save_dir: ${nothing}", "cfg.save_dir: Interpolation key 'nothing' not found"),
        ("training: {lr: -1}", r"cfg\.training\.lr=-1\.0: must be above 0"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"config\.yaml: .*{message}"):
        load_settings(written(tmp_path, text))


def test_binary_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\x80\x02\xff\xfe")
    with pytest.raises(SettingsError, match="not a YAML file"):
        load_settings(tmp_path / "config.yaml")
    with pytest.raises(SettingsError, match="no such file; a run writes its config.yaml beside"):
        load_settings(tmp_path / "other.yaml")
