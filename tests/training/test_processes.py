"""Two processes: the gradients of one with the joint batch, and one run folder with joint figures."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from also_selfsup.training.epoch_log import read_log

# Every point in a cell of its own, nothing random: the joint batch is then the sum of its halves.
FIXED = [
    "cfg.transforms.rotation=false",
    "cfg.transforms.flip=false",
    "cfg.transforms.grid_size=0",
    "cfg.network.voxel_size=0.02",
    "cfg.manifold_points=100000",
    "cfg.precision=64-true",
    "cfg.trainer.limit_train_batches=1",
    "cfg.trainer.limit_val_batches=0",
]

# Done by the first process alone, while the other one waits.
PROBES = ("cfg.probes.interval=1", "cfg.probes.split=val", "cfg.probes.points=50")


def gradients(tmp_path: Path, overrides: list[str], *, processes: int) -> dict[str, torch.Tensor]:
    """Gradients of a fine-tuning's first step after the processes agreed; batch-norm is in evaluation."""
    out = tmp_path / f"gradients_{processes}.pt"
    script = Path(__file__).with_name("first_gradients.py")
    batch_size = 2 // processes
    more = [f"cfg.num_device={processes}", f"cfg.downstream.batch_size={batch_size}"]
    found = subprocess.run(
        [sys.executable, str(script), str(out), json.dumps([*overrides, *more])],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    loaded: dict[str, torch.Tensor] = torch.load(out, weights_only=True)
    return loaded


def test_two_processes_have_the_gradients_of_one(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    one = gradients(tmp_path, tiny(*FIXED), processes=1)
    scale = max(float(tensor.abs().max()) for tensor in one.values())
    for again in ("false", "true"):
        overrides = tiny(*FIXED, f"cfg.trainer.checkpoint_activations={again}")
        two = gradients(tmp_path, overrides, processes=2)
        assert one.keys() == two.keys() and len(one) > 100
        for name, tensor in one.items():
            assert float((two[name] - tensor).abs().max()) <= 1e-10 * scale, name


def test_two_processes_share_a_run(
    tiny: Callable[..., list[str]], tmp_path: Path, start_script: Callable[..., "subprocess.Popen[str]"]
) -> None:
    arguments = tiny(
        "cfg.num_device=2",
        "cfg.training.batch_size=1",
        "cfg.training.max_epochs=1",
        "cfg.logging.report=true",
        *PROBES,
    )
    process = start_script("train_selfsupervised", "cfg=nuscenes", *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert [path.name for path in (tmp_path / "Pretraining" / "nuscenes").iterdir()] == ["version_0"]
    folder = tmp_path / "Pretraining" / "nuscenes" / "version_0"
    assert (folder / "last.ckpt").is_file()
    assert [row["epoch"] for row in read_log(folder / "logs_train.csv")] == ["0"]
    assert output.count("probes after 1 epochs") == 1
    assert [row["finished_epochs"] for row in read_log(folder / "logs_probe.csv")] == ["0", "1"]
    assert output.count("Next: python") == output.count("Report: ") == 1
    names = {path.name for path in (folder / "pictures" / "epochs").iterdir()}
    assert names == {"occupancy_1_epoch_00000.npz", "occupancy_2_epoch_00000.npz"}
    assert "Left out" not in (folder / "report.html").read_text("utf-8")
