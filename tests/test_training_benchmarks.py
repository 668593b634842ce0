"""Benchmarks of trainings, which are for GPUs, at their smallest on a CPU: what they print and leave."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path


def run(root: Path, name: str, tmp_path: Path, *words: str) -> str:
    """What a benchmark prints; beside its data it leaves nothing."""
    (tmp_path / "temporary").mkdir()
    script = root / "tests" / "benchmarks" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "streets"), "--quick", *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout
    assert not [path for path in tmp_path.rglob("*.ckpt") if path.is_file()]
    return done.stdout


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


def test_two_processes_beside_one(root: Path, tmp_path: Path) -> None:
    said = run(root, "scaling_gpu", tmp_path)
    assert re.search(r"│ 1 +│ [\d.]+ +│ 1\.00 +│ 100 %", said) and re.search(r"│ 2 +│ [\d.]+ +│", said)
    assert said.rstrip().endswith("the same result.")
    assert len(re.findall(r"│ \d +│ (0\.\d{6}) +│ 0\.\d{6} +│ \d\.\de-\d+", said)) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"streets", "temporary"}
