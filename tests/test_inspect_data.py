"""inspect_data.py: every data set, hand-made faults, the page, and the exit status."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from also_selfsup.data import DATASETS
from also_selfsup.data.simulator import simulate
from also_selfsup.inspect_data import inspect, lengthen
from also_selfsup.reporting.inspection import Split, examine, open_splits, spread_evenly
from also_selfsup.reporting.inspection_findings import Finding, findings
from also_selfsup.settings.names import UserError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.training.datamodule import open_dataset

ROOT = Path(__file__).resolve().parents[1]
QUIET = [
    *("cfg.threads=0", "cfg.logging.progress_bar=false", "cfg.non_manifold_points=30"),
    "cfg.downstream.skip_ratio=1",
]
# Recipe, layout of the simulator, splits.
LAYOUTS = {
    "nuscenes": ("nuscenes", {"train": 1, "verifying": 1}),
    "semantickitti": ("semantickitti", {"train": 1, "val": 1}),
    "semanticposs": ("semanticposs", {"train": 1, "val": 1}),
    "kitti3d_second": ("kitti3d", {"train": 1, "val": 1}),
    "kitti360_second": ("kitti360", {"train": 1, "val": 1}),
    "once_raw_small_second": ("once", {"raw_small": 1, "val": 1}),
}


def silent() -> Console:
    return Console(file=io.StringIO(), width=200)


def examined(settings: Settings) -> tuple[list[Split], list[Finding]]:
    """The splits read, and what is found in them."""
    splits = open_splits(settings)
    for split in splits:
        examine(split, settings, console=silent())
    return splits, findings(splits, settings)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans of train, two of val, in nuScenes' layout."""
    root = tmp_path_factory.mktemp("street") / "data"
    return simulate(root, scenes={"train": 4, "val": 1}, frames_per_scene=2, azimuth_steps=60, seed=3)


@pytest.fixture
def settings_of(street: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of an inspection of a copy of the street, with labels."""
    shutil.copytree(street, tmp_path / "data")

    def compose(*more: str) -> Settings:
        places = [f"cfg.dataset_root={tmp_path / 'data'}", f"cfg.save_dir={tmp_path / 'out'}"]
        return load("demo", [*QUIET, *places, *more])

    return compose


@pytest.mark.parametrize("recipe", LAYOUTS)
def test_every_simulated_data_set(recipe: str, tmp_path: Path) -> None:
    layout, scenes = LAYOUTS[recipe]
    simulate(tmp_path, layout=layout, scenes=scenes, frames_per_scene=2, azimuth_steps=60, seed=3)
    settings = load(recipe, [*QUIET, f"cfg.dataset_root={tmp_path}"])
    labels = DATASETS[settings.dataset_name].label_map is not None
    settings = replace(settings, inspect=replace(settings.inspect, labels=labels))
    if recipe == "nuscenes":  # labels are asked for on other splits than pre-training's
        stage = replace(settings.downstream, val_split="verifying", train_split="train")
        settings = replace(settings, downstream=stage)
    splits, found = examined(settings)
    problems = [finding for finding in found if finding.problem]
    if recipe == "nuscenes":  # verifying is a part of train
        assert "frames are in both" in problems.pop().found
    assert not problems
    for split in splits:
        assert split.dataset is not None and len(split.sound) == len(split.dataset) >= 2
        assert all((scan.label_counts is not None) == labels for scan in split.sound)
        assert all(0.5 < scan.height < 3 for scan in split.sound)


def test_folders_and_text_files(street: Path, tmp_path: Path) -> None:
    splits, found = examined(load("folder", [*QUIET, f"cfg.dataset_root={street}/samples"]))
    assert [len(split.sound) for split in splits] == [9, 1] and not any(f.problem for f in found)
    points = np.random.default_rng(0).uniform((-9, -9, -2, 0, 0), (9, 9, 2, 255, 5), (600, 5))
    for name in "abc":
        (tmp_path / "points").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "points" / f"{name}.txt", points + ord(name) / 1e3, fmt="%.3f")
    splits, found = examined(load("livox", [*QUIET, f"cfg.dataset_root={tmp_path}"]))
    assert [split.sound[0].count for split in splits] == [600, 600]
    assert not any(finding.problem for finding in found)


def test_hand_made_faults_are_listed_with_their_cure(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of("cfg.inspect.labels=true")
    train = open_dataset(settings, "train", labels=True)
    val = open_dataset(settings, "val", labels=True)
    root = train.root
    scan = [root / train.name(index) for index in range(len(train))]
    label = [root / train.label_file(index) for index in range(len(train))]
    scan[0].write_bytes(scan[0].read_bytes()[:1003])
    points = np.fromfile(scan[1], np.float32)
    points[17] = np.nan
    points.tofile(scan[1])
    scan[2].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    label[3].unlink()
    label[4].write_bytes(label[4].read_bytes()[:-7])
    scan[5].unlink()
    shutil.copy(scan[6], root / val.name(0))
    shutil.copy(label[6], root / val.label_file(0))
    problems = {finding.where: finding for finding in inspect(settings, silent()) if finding.problem}
    expected = {
        train.name(0): ("1003 bytes are no whole number", "fetch it again"),
        train.name(1): ("1 of .* points have values that are NaN", "fetch it again"),
        train.name(2): ("Git LFS pointer", "git lfs pull"),
        train.name(3): (f"{train.label_file(3)}: there is no such file", "Fetch it"),
        train.name(4): (f"{train.label_file(4)}: .* labels, the scan has", "fetch both again"),
        train.name(5): ("there is no such file", "Fetch it"),
        "splits train and val": (
            f"one scan is in several files, .*{train.name(6)} and {val.name(0)}",
            "copies",
        ),
    }
    assert problems.keys() == expected.keys()
    for where, (found, cure) in expected.items():
        assert re.search(found, problems[where].found) and cure in problems[where].cure
    folder = Path(settings.save_dir) / "Inspection" / "demo"
    page = (folder / "report.html").read_text("utf-8")
    assert "7 problems" in page and all(where in page for where in expected) and page.count("<figure") == 3
    with (folder / "findings.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "problem"]
    assert {row["where"] for row in rows} == expected.keys()


def test_sound_data_have_no_problem_and_counts_are_those_of_the_files(
    settings_of: Callable[..., Settings],
) -> None:
    settings = settings_of("cfg.threads=2", "cfg.inspect.labels=true")  # read by two processes
    splits, found = examined(settings)
    assert not any(finding.problem for finding in found)
    for split in splits:
        dataset = open_dataset(settings, split.name, labels=True)
        assert [scan.name for scan in split.examined] == [dataset.name(i) for i in range(len(dataset))]
        assert [scan.count for scan in split.sound] == [len(dataset[i].pos) for i in range(len(dataset))]


def test_sampling_is_even() -> None:
    assert spread_evenly(10, None) == spread_evenly(10, 99) == list(range(10))
    assert spread_evenly(101, 5) == [0, 25, 50, 75, 100]
    for count, most in ((7, 6), (1000, 7), (5, 1)):
        found = spread_evenly(count, most)
        assert len(set(found)) == most and max(found) < count


def test_a_wrong_origin_and_dark_scans_are_found(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of()
    root = Path(settings.dataset_root)
    for path in (root / "samples" / "LIDAR_TOP").iterdir():
        points = np.fromfile(path, np.float32).reshape(-1, 5)
        points[:, 2] += 1.84  # into a vehicle's frame, whose origin is on the ground
        points[:, 3] = 0
        points.tofile(path)
    _, found = examined(replace(settings, inputs=["intensities"]))
    said = {(finding.where, finding.problem) for finding in found}
    for split in ("train", "val"):
        assert (f"split {split}, sensor", True) in said and (f"split {split}, intensities", True) in said
    _, found = examined(settings)  # which has positions among its inputs
    assert {f.problem for f in found if "intensities" in f.where} == {False}


def test_a_split_that_cannot_be_opened(settings_of: Callable[..., Settings]) -> None:
    splits, found = examined(settings_of("cfg.train_split=verifying"))
    assert [len(split.examined) for split in splits] == [0, 2]
    assert [f.where for f in found if f.problem] == ["split verifying"]
    with pytest.raises(UserError, match="no such folder"):
        open_splits(settings_of("cfg.dataset_root=/nowhere/at/all"))


def test_short_words_stand_for_settings() -> None:
    given = ["cfg=demo", "--labels", "max_scans=5", "cfg.seed=1"]
    assert lengthen(given) == ["cfg=demo", "cfg.inspect.labels=true", "cfg.inspect.max_scans=5", "cfg.seed=1"]


def test_a_problem_is_the_exit_status_of_the_script(settings_of: Callable[..., Settings]) -> None:
    """The README's command, which its own test runs, ends with 0."""
    settings = settings_of()
    path = next((Path(settings.dataset_root) / "samples" / "LIDAR_TOP").iterdir())
    path.write_bytes(b"")
    words = [*QUIET, f"cfg.dataset_root={settings.dataset_root}", f"cfg.save_dir={settings.save_dir}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "also_selfsup" / "inspect_data.py"), "cfg=demo", *words, "--labels"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "1 problem to mend" in said, said
    assert f"{path.name}: the file is empty" in said


def test_a_folder_that_cannot_be_written_is_named_before_the_scans_are_read(tmp_path: Path) -> None:
    root = simulate(
        tmp_path / "data", scenes={"train": 1, "verifying": 1}, frames_per_scene=1, azimuth_steps=60
    )
    (tmp_path / "file").touch()
    settings = load("nuscenes", [*QUIET, f"cfg.dataset_root={root}", f"cfg.save_dir={tmp_path / 'file'}"])
    with pytest.raises(UserError, match=r"Inspection/nuscenes: cannot be written"):
        inspect(settings, silent())
