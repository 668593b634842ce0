"""Benchmarks of trainings, which are for GPUs, at their smallest on a CPU: what they print and leave."""

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest


def run(root: Path, name: str, tmp_path: Path, *words: str) -> str:
    """What a benchmark prints; beside its data it leaves nothing."""
    done = start(root, name, tmp_path, *words)
    assert done.returncode == 0, done.stdout
    assert not [path for path in tmp_path.rglob("*.ckpt") if path.is_file()]
    return done.stdout


def start(root: Path, name: str, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A benchmark at its smallest, with its output."""
    (tmp_path / "temporary").mkdir(exist_ok=True)
    script = root / "tests" / "benchmarks" / f"{name}.py"
    return subprocess.run(
        [sys.executable, str(script), str(tmp_path / "streets"), "--quick", *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )


def test_precisions_side_by_side(root: Path, tmp_path: Path) -> None:
    said = run(root, "precision_gpu", tmp_path, "--out", "curves.csv", "--plot", "curves.png")
    with (tmp_path / "curves.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = {(row["precision"], row["seed"], row["step"]): float(row["loss"]) for row in rows}
    assert len(losses) == len(rows) == 2 * 2 * 6
    for block, steps in (("1-3", "123"), ("4-6", "456")):
        means = [
            sum(losses[precision, seed, step] for seed in "01" for step in steps) / 6
            for precision in ("fp32", "bf16")
        ]
        [line] = [line for line in said.splitlines() if block in line]
        assert f"{means[0]:.4f}" in line and f"{means[1]:.4f}" in line
    assert losses["fp32", "0", "1"] != losses["bf16", "0", "1"]
    assert abs(losses["fp32", "0", "1"] - losses["bf16", "0", "1"]) < 0.01
    assert re.search(r"bf16: the largest difference of a block is [\d.]+ of fp32's seed spread", said)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"streets", "temporary", "curves.csv", "curves.png"}


def test_cost_by_scans_voxels_and_channels(root: Path, tmp_path: Path) -> None:
    said = run(root, "cost_gpu", tmp_path, "--out", "cost.csv", "--plot", "cost.png")
    with (tmp_path / "cost.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [(row["sweep"], row["scans"], row["grid_size"], row["channels"]) for row in rows]
    assert found[:4] == [
        ("scans", "1", "0.4", ""),
        ("scans", "2", "0.4", ""),
        ("grid size", "2", "0.8", ""),
        ("grid size", "2", "0.4", ""),
    ]
    assert found[4:] == [("channels", "2", "0.4", "16"), ("channels", "2", "0.4", "32")]
    one, two, coarse, fine, *layers = rows
    assert int(one["voxels"]) < int(two["voxels"]) <= 800 < int(coarse["voxels"]) < int(fine["voxels"])
    for row in rows:
        assert float(row["ms"]) > 0 and not row["note"] and f" {row['voxels']} " in said
    for row in layers:
        work = 2e-9 * int(row["pairs"]) * int(row["channels"]) ** 2
        for kind, times in (("forward_", 1), ("", 3)):
            ms = float(row[f"{kind}ms"])
            assert float(row[f"{kind}tflops"]) == pytest.approx(times * work / ms)
            assert float(row[f"{kind}share"]) == pytest.approx(float(row[f"dense_{kind}ms"]) / ms)
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"streets", "temporary", "cost.csv", "cost.png"}


def test_two_processes_beside_one(root: Path, tmp_path: Path) -> None:
    said = run(root, "scaling_gpu", tmp_path)
    assert re.search(r"│ 1 +│ [\d.]+ +│ 1\.00 +│ 100 %", said) and re.search(r"│ 2 +│ [\d.]+ +│", said)
    assert said.rstrip().endswith("the same result.")
    assert len(re.findall(r"│ \d +│ (0\.\d{6}) +│ 0\.\d{6} +│ \d\.\de-\d+", said)) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"streets", "temporary"}


def test_the_study_with_a_gpu_for_runs_from_scratch(root: Path, tmp_path: Path) -> None:
    words = ["--gpus", "2", "--early-epochs", "1", "--finetune-epochs", "1:1", "--tables", "tables"]
    done = start(root, "label_efficiency_gpu", tmp_path, *words)
    assert done.returncode == 0, done.stdout
    for started in (
        "0 python -m also_selfsup.train_selfsupervised",
        "1 python -m also_selfsup.label_efficiency",
        "0,1 python -m also_selfsup.label_efficiency",
    ):
        logs = [path.read_text("utf-8") for path in (tmp_path / "tables").glob("log_*.txt")]
        assert any(f"CUDA_VISIBLE_DEVICES={started}" in log for log in logs)
    with (tmp_path / "tables" / "label_efficiency_runs.csv").open(encoding="utf-8") as file:
        starts = Counter(row["start"] for row in csv.DictReader(file))
    assert starts == {"scratch": 1, "pretrained_1_epochs": 1, "pretrained_2_epochs": 1}
    assert "3 of 3 runs are finished" in done.stdout
    assert (tmp_path / "tables" / "logs_train.csv").is_file()
    another = start(root, "label_efficiency_gpu", tmp_path, "--seed", "1")
    assert another.returncode == 1 and "of seed 0, not 1: take another folder" in another.stdout


def test_the_study_tells_what_failed(root: Path, tmp_path: Path) -> None:
    failed = start(root, "label_efficiency_gpu", tmp_path, "--stage", "pretrain")
    assert failed.returncode == 1 and "pretrain failed with status 1" in failed.stdout
    assert "no such folder" in failed.stdout and (tmp_path / "streets" / "log_pretrain.txt").is_file()
