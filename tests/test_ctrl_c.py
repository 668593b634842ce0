"""Ctrl-C in the middle of each script's work: one line, status 130, and nothing half done on the disk.

Real processes get the signal with all of their own, as a terminal sends it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from also_selfsup import convert_models
from also_selfsup.checkpoints.convert import convert
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.simulator import simulate
from also_selfsup.settings.ctrl_c import ctrl_c_later, end_at_ctrl_c
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.run import load
from also_selfsup.settings.terminal import one_line_endings
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule

SAID = "Stopped by Ctrl-C.\n"
SMALL = "cfg.manifold_points=400 cfg.network.latent_size=8 cfg.threads=2 cfg.downstream.batch_size=1".split()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty simulated scans of train, two of val."""
    root = tmp_path_factory.mktemp("street")
    return simulate(root, scenes={"train": 4, "val": 1}, frames_per_scene=10, azimuth_steps=60, seed=3)


@pytest.fixture(scope="module")
def run(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with untrained checkpoints of both kinds and their settings."""
    folder = tmp_path_factory.mktemp("run")
    settings = load("demo", [*SMALL, f"cfg.dataset_root={street}"])
    save_settings(settings, folder / "config.yaml")
    for name, module in (
        ("pretraining", PretrainingModule(settings)),
        ("last", SegmentationModule(settings, NuScenes.classes().names)),
    ):
        content = {"state_dict": module.state_dict(), "settings": asdict(settings), "epoch": 0}
        torch.save(content, folder / f"{name}.ckpt")
    convert(folder / "last.ckpt", downstream=True)
    return folder


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Where the tests run in the background, Ctrl-C is ignored by this process too."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def interrupt(root: Path, words: list[str], *, once: Callable[[], bool]) -> tuple[int, str, str]:
    """Start a command, press Ctrl-C once something is there; its status, output and messages."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests themselves run in the background, SIGINT is ignored by all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 120
    while not once() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    try:
        os.killpg(process.pid, signal.SIGINT)
        output, messages = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output, messages


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_simulator_leaves_no_part_of_a_data_set(root: Path, tmp_path: Path, workers: str) -> None:
    data = tmp_path / "data"
    words = f"-m also_selfsup.data.simulator --root {data} --scenes 200 --workers {workers} --quiet".split()
    scans = data / "samples" / "LIDAR_TOP"
    ended = interrupt(root, words, once=lambda: scans.is_dir() and any(scans.iterdir()))
    assert ended == (130, "", SAID)
    assert list(tmp_path.iterdir()) == []


def test_visualize(root: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = f"also_selfsup/visualize.py --ckpt {run}/pretraining.ckpt --out {out} --cell 0.1 --device cpu"
    status, _, messages = interrupt(root, words.split(), once=out.is_dir)
    assert (status, messages.splitlines(True)[-1]) == (130, SAID) and "Traceback" not in messages
    assert list(tmp_path.iterdir()) == []


def test_eval_leaves_whole_predictions(root: Path, run: Path, street: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lidarseg" / "train"
    words = (
        f"also_selfsup/eval.py --split train --config {run}/config.yaml --ckpt {run}/trained_model_001.ckpt"
    )
    words += f" --save-predictions {tmp_path} --device cpu"
    status, _, messages = interrupt(
        root, words.split(), once=lambda: folder.is_dir() and any(folder.glob("[!.]*"))
    )
    assert (status, messages.splitlines(True)[-1]) == (130, SAID) and "Traceback" not in messages
    dataset = NuScenes(street, "train", min_range=0)
    counts = {dataset.submission_path(index): len(dataset[index].pos) for index in range(len(dataset))}
    found = {str(path.relative_to(tmp_path)): path.stat().st_size for path in folder.iterdir()}
    assert 0 < len(found) < len(counts) and found.items() <= counts.items()
    assert not list(run.glob("*_train_*"))


def test_inspect_data(root: Path, street: Path, tmp_path: Path) -> None:
    words = ["also_selfsup/inspect_data.py", "cfg=demo", "cfg.threads=2", f"cfg.dataset_root={street}"]
    words += [f"cfg.save_dir={tmp_path}/results", "cfg.logging.progress_bar=false"]
    status, _, messages = interrupt(root, words, once=(tmp_path / "results").is_dir)
    assert (status, messages.splitlines(True)[-1]) == (130, SAID) and "Traceback" not in messages
    assert list(tmp_path.iterdir()) == []


def test_convert_models(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "replace", press)
    before = sorted(run.iterdir())
    with pytest.raises(SystemExit) as end:
        convert_models.main(["--ckpt", str(run / "pretraining.ckpt")])
    assert (end.value.code, capsys.readouterr().err) == (130, SAID)
    assert sorted(run.iterdir()) == before


def test_ctrl_c_waits_until_processes_are_started() -> None:
    started = False
    with pytest.raises(KeyboardInterrupt), ctrl_c_later():
        signal.raise_signal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        started = True
    assert started and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with ctrl_c_later():
        pass


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
def test_a_worker_ends_at_ctrl_c_unless_it_is_ignored(before: signal.Handlers) -> None:
    handler = signal.signal(signal.SIGINT, before)
    try:
        end_at_ctrl_c()
        found = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert found is (signal.SIG_IGN if before is signal.SIG_IGN else signal.SIG_DFL)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(OSError, match="of the code"), one_line_endings():
        raise OSError("of the code")
    with pytest.raises(SystemExit, match="error: of a disk"), one_line_endings(OSError):
        raise OSError("of a disk")
