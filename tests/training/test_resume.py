"""A run that was killed goes on as if nothing had happened."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

from also_selfsup.training.epoch_log import read_log

Start = Callable[..., "subprocess.Popen[str]"]

EPOCHS = "cfg.training.max_epochs=4"
RUN = Path("Pretraining", "nuscenes", "version_0")
MEASURED = ("scans_per_second", "seconds")


def finish(start_script: Start, *arguments: str) -> str:
    process = start_script("train_selfsupervised", "cfg=nuscenes", *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def figures(folder: Path, stage: str) -> list[dict[str, str]]:
    rows = read_log(folder / f"logs_{stage}.csv")
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


def test_killed_run_repeats_the_unbroken_one(
    tiny: Callable[..., list[str]], tmp_path: Path, start_script: Start
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert "Next: python" in finish(start_script, *tiny(EPOCHS, save_dir=unbroken))

    process = start_script("train_selfsupervised", "cfg=nuscenes", *tiny(EPOCHS, save_dir=broken))
    deadline = time.monotonic() + 200
    while not (broken / RUN / "last.ckpt").is_file():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(figures(broken / RUN, "train")) < 4, "the run ended before it could be killed"

    # Drawn now, as the unbroken one was not: pictures leave no trace in what is learnt.
    drawn = ["cfg.logging.report=true", "cfg.logging.picture_scans=1"]
    said = finish(start_script, *tiny(EPOCHS, "cfg.resume=auto", *drawn, save_dir=broken))
    assert f"Report: {broken / RUN / 'report.html'}" in said
    assert list((broken / RUN / "pictures" / "epochs").glob("occupancy_1_epoch_0000[123].npz"))
    assert not (broken / RUN.with_name("version_1")).exists()
    for stage in ("train", "val"):
        assert len(figures(unbroken / RUN, stage)) == 4
        assert figures(broken / RUN, stage) == figures(unbroken / RUN, stage)
    expected = torch.load(unbroken / RUN / "last.ckpt", weights_only=True)
    found = torch.load(broken / RUN / "last.ckpt", weights_only=True)
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for name, tensor in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], tensor), name
