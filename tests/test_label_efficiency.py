"""The comparison over label fractions: killed between runs, stopped within one, refused if it is another."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from also_selfsup import eval as scoring
from also_selfsup.data.simulator import simulate
from also_selfsup.label_efficiency import Job, main, run_cell
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.study import Study
from also_selfsup.training.building import network_of
from also_selfsup.training.cells import Cell, plan, read_outcomes, refuse_another
from also_selfsup.training.epoch_log import read_log

TINY = """
cfg.manifold_points=300 cfg.transforms.grid_size=0.5 cfg.network.voxel_size=0.5 cfg.network.backbone=SPVCNN0p5
cfg.network.latent_size=8 cfg.downstream.batch_size=2 cfg.threads=0 cfg.trainer.accelerator=cpu
""".split()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans to learn from, one to be scored."""
    root = tmp_path_factory.mktemp("street")
    return simulate(root, scenes={"train": 2, "val": 1}, frames_per_scene=1, azimuth_steps=48, seed=3)


@pytest.fixture
def words(street: Path, tmp_path: Path) -> list[str]:
    """Settings of all runs, as typed."""
    return [*TINY, f"cfg.dataset_root={street}", f"cfg.save_dir={tmp_path}/results"]


@pytest.fixture
def weights(words: list[str], tmp_path: Path) -> Path:
    """Weights of a backbone that another seed made."""
    torch.manual_seed(9)
    net = network_of(load("nuscenes", words), out_channels=8)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "given.ckpt")
    return tmp_path / "given.ckpt"


def cells_of(settings: Settings, **changes: object) -> list[Cell]:
    return plan(settings, Study(**{"fractions": [1.0], "seeds": 1, **changes}))  # type: ignore[arg-type]


def test_killed_between_runs_it_goes_on(
    root: Path, words: list[str], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = ["fractions=[1]", "epochs={1:1}", "seeds=2", f"init=[scratch,{weights}]"]
    command = ["cfg=nuscenes", *words, *study]
    process = subprocess.Popen(
        [sys.executable, "label_efficiency.py", *command],
        cwd=root / "also_selfsup",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    folder, deadline = tmp_path / "results" / "LabelEfficiency" / "nuscenes", time.monotonic() + 200
    while not (before := sorted(folder.rglob("outcome.json"))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    times = {path: path.stat().st_mtime_ns for path in before}
    assert len(before) < 4, "all runs were finished before it could be killed"
    main(command)
    said = capsys.readouterr().out
    assert f"4 runs, {len(before)} finished before." in said and "are left" not in said
    assert {path: path.stat().st_mtime_ns for path in before} == times
    assert len(list(folder.rglob("outcome.json"))) == 4
    check_against_eval(folder, load("nuscenes", words))
    main(command)
    assert "4 runs, 4 finished before." in capsys.readouterr().out


def check_against_eval(folder: Path, settings: Settings) -> None:
    """The row of each run in the table is what eval.py says of its weights."""
    with (folder / "label_efficiency_runs.csv").open(encoding="utf-8") as file:
        rows = {(row["start"], row["seed"]): row for row in csv.DictReader(file)}
    assert set(rows) == {("scratch", "1"), ("scratch", "2"), ("given", "1"), ("given", "2")}
    [model] = (folder / "cells" / "finetune" / "1" / "scratch" / "seed_2").rglob("trained_model_001.ckpt")
    assert not model.with_name("last.ckpt").exists()
    config = ["--config", str(model.with_name("config.yaml")), "--ckpt", str(model), "--device", "cpu"]
    scoring.evaluate(scoring.parse(["--split", "val", *config]), Console(file=io.StringIO()))
    with model.with_name("trained_model_001_val_scores.csv").open(encoding="utf-8") as file:
        scores = {row["class"]: row["iou"] for row in csv.DictReader(file)}
    row = rows["scratch", "2"]
    assert float(row["miou"]) == pytest.approx(100 * float(scores["mean"]), abs=1e-3)
    assert [name for name in scores if scores[name] == ""] == [
        name for name in scores if row.get(f"iou {name}") == ""
    ]
    assert row["scans"] == "2" and row["steps"] == "1" and float(row["train_seconds"]) > 0


def test_stopped_within_a_run_it_goes_on_in_it(words: list[str]) -> None:
    [cell] = cells_of(load("nuscenes", words), epochs={1.0: 2})
    assert run_cell(Job(cell, time.time() - 1)) is None and not cell.folder.exists()
    assert run_cell(Job(cell, time.time() + 0.02)) is None
    [log] = cell.folder.rglob("logs_train.csv")
    first = read_log(log)
    assert len(first) == 1 and read_outcomes([cell]) == []
    outcome = run_cell(Job(cell, None))
    assert outcome is not None and read_outcomes([cell]) == [outcome]
    assert list(cell.folder.rglob("logs_train.csv")) == [log]
    rows = read_log(log)
    assert rows[0] == first[0] and (outcome.epochs, outcome.steps) == (2, 2)
    assert outcome.train_seconds == pytest.approx(sum(float(row["seconds"]) for row in rows))


def test_a_probe_from_scratch_learns_the_head_alone(words: list[str]) -> None:
    [cell] = cells_of(load("nuscenes", words), epochs={1.0: 1}, heads=["mlp"])
    assert run_cell(Job(cell, None)) is not None
    [model] = cell.folder.rglob("trained_model_001.ckpt")
    after = torch.load(model, weights_only=True)["state_dict"]
    before = torch.load(cell.folder / "untrained.ckpt", weights_only=True)["state_dict"]
    assert {name for name in before if not name.startswith("classifier")} == {
        name for name, tensor in after.items() if name in before and torch.equal(tensor, before[name])
    }
    assert after["classifier.2.weight"].shape[0] == 17


def test_another_study_in_the_folder_is_refused(words: list[str]) -> None:
    settings = load("nuscenes", words)
    [cell] = cells_of(settings, epochs={1.0: 2})
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.json").write_text(json.dumps(cell.identity()), encoding="utf-8")
    [same] = cells_of(load("nuscenes", [*words, "cfg.threads=3", "cfg.training.lr=7"]), epochs={1.0: 2})
    refuse_another(same)
    [other] = cells_of(load("nuscenes", [*words, "cfg.downstream.lr=0.5"]), epochs={1.0: 2})
    with pytest.raises(SettingsError, match=r"made with cfg\.downstream\.lr=0\.001, now it is 0\.5\. Take"):
        refuse_another(other)


def test_order_and_settings_of_the_cells(words: list[str], weights: Path) -> None:
    settings = load("nuscenes", words)
    cells = cells_of(
        settings, fractions=[0.01, 1.0], seeds=2, init=["scratch", str(weights)], heads=["linear"]
    )
    keys = [(cell.seed, cell.fraction, cell.start) for cell in cells]
    assert keys == sorted(keys, key=lambda key: (key[0], key[1], key[2] != "scratch"))
    assert len({cell.folder for cell in cells}) == len(cells) == 8
    stage = cells[1].settings.downstream
    assert (stage.skip_ratio, stage.max_epochs, stage.linear_probe) == (100, 500, True)
    assert (
        stage.checkpoint_name == "given.ckpt"
        and cells[0].settings.downstream.checkpoint_name == "untrained.ckpt"
    )
    weights.write_bytes(b"other weights")
    assert cells_of(settings, init=[str(weights)], epochs={1.0: 1})[0].folder not in {c.folder for c in cells}
    with pytest.raises(SettingsError, match=r"init=nowhere\.ckpt: no such file"):
        cells_of(settings, init=["nowhere.ckpt"])


def test_mistakes_end_in_one_line() -> None:
    for words, said in (
        (["seeds=2"], "Say cfg=RECIPE, once; found none"),
        (["cfg=nuscenes", "sceds=2"], "Did you mean 'seeds'"),
        (["cfg=nuscenes", "cfg.num_device=2", "fractions=[1]"], "cfg.num_device=2: each run has one device"),
        (["cfg=nuscenes", "fractions=[1]", "cfg.dataset_root=/nowhere"], "/nowhere: no such folder"),
    ):
        with pytest.raises(SystemExit, match=said):
            main(words)
