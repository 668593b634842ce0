"""Faults from outside end a run with one clear message, and what was done is on the disk."""

import errno
import logging
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.checkpoints.writing import WriteError, write_atomically
from also_selfsup.data.base import DatasetError
from also_selfsup.data.scan import Batch
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.names import UserError
from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.faults import FaultError, explain, leaves_state_sound
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import Run, open_run
from also_selfsup.training.trainer import build_trainer, fit

SMALL = (
    "cfg.network.backbone=SPVCNN0p5",
    "cfg.manifold_points=100",
    "cfg.training.batch_size=1",
    "cfg.training.max_epochs=3",
    "cfg.val_interval=3",
)


class Troubled(PretrainingModule):
    """Does something before one of its steps."""

    def __init__(self, settings: Settings, trouble: Callable[[], object], *, step: int) -> None:
        super().__init__(settings)
        self.trouble, self.step = trouble, step

    def predict(self, batch: Batch, generator: torch.Generator, *, training: bool) -> dict[str, Any]:
        if training and self.global_step == self.step:
            self.trouble()
        return super().predict(batch, generator, training=training)


def run(settings: Settings, folder: Path, trouble: Callable[[], object], *, step: int = 3) -> None:
    trainer = build_trainer(settings, folder, epochs=3, val_interval=3, monitor="val/iou")
    module = Troubled(settings, trouble, step=step)
    fit(trainer, module, LidarDataModule(settings, labels=False), Run(folder, None))


def steps_kept(folder: Path) -> int:
    """Steps of the last checkpoint, after reading it whole."""
    assert not list(folder.glob(".*.part"))
    return int(read_checkpoint(folder / "last.ckpt")["global_step"])


def raising(error: Exception) -> Callable[[], object]:
    def trouble() -> object:
        raise error

    return trouble


def test_out_of_gpu_memory_says_what_was_at_work_and_what_to_lower(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines")
    with pytest.raises(FaultError, match=r"with 1 scans of \d+ points.*2.00 GiB.*cfg.training.batch_size"):
        run(tiny_settings(*SMALL), tmp_path, raising(error))
    assert steps_kept(tmp_path) == 3


@pytest.mark.parametrize("on_bad_scan", ["raise", "skip"])
def test_a_data_root_that_vanishes(
    tiny_settings: Callable[..., Settings], street: Path, tmp_path: Path, on_bad_scan: str
) -> None:
    root = shutil.copytree(street, tmp_path / "street")
    settings = tiny_settings(*SMALL, f"cfg.dataset_root={root}", f"cfg.data.on_bad_scan={on_bad_scan}")
    with pytest.raises(DatasetError, match="street: the folder has vanished.*cfg.resume=auto"):
        run(settings, tmp_path, lambda: root.rename(tmp_path / "elsewhere"), step=2)
    assert steps_kept(tmp_path) == 3


def kill_a_loader_process() -> None:
    # Only loaders: the process may have other children, such as multiprocessing's resource tracker.
    for process in multiprocessing.active_children():
        process.kill()
        process.join()  # its death is told now, not at a random place of the steps that follow


def test_a_loader_process_that_dies(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_settings(*SMALL, "cfg.threads=1", "cfg.training.max_epochs=50")
    with pytest.raises(FaultError, match="A loader process died.*lower cfg.threads"):
        run(settings, tmp_path, kill_a_loader_process)
    assert steps_kept(tmp_path) >= 3


def test_an_error_of_the_code_keeps_its_traceback(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tiny_settings(*SMALL), tmp_path, raising(ZeroDivisionError()))
    assert steps_kept(tmp_path) == 2  # of the last finished epoch: nothing is written after an unknown error
    assert not leaves_state_sound(ZeroDivisionError())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_former_file(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    write_atomically({"a": torch.ones(10)}, path)
    for numbers in (60_000, 600_000):
        with pytest.raises(WriteError, match=r"last.ckpt: .*No space left.*former file is whole.*Make room"):
            write_atomically({"a": torch.ones(numbers)}, path)
    assert torch.equal(read_checkpoint(path)["a"], torch.ones(10))
    assert [file.name for file in small_disk.iterdir()] == ["last.ckpt"]


def test_a_read_only_disk_is_told(small_disk: Path, tiny_settings: Callable[..., Settings]) -> None:
    write_atomically({"a": 1}, small_disk / "last.ckpt")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(WriteError, match=r"Read-only file system.*former file is whole"):
        write_atomically({"a": 2}, small_disk / "last.ckpt")
    with pytest.raises(SettingsError, match=r"cfg.save_dir=.*cannot write to.*Read-only file system"):
        open_run(tiny_settings(save_dir=small_disk / "results"), "x")


def test_a_disk_that_fills_while_a_run_writes(
    tiny_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = torch.save

    def full(content: Any, file: Any) -> None:
        if content["global_step"] >= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved(content, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WriteError, match="last.ckpt: .*No space left.*former file is whole"):
        pretrain(tiny_settings(*SMALL))
    assert steps_kept(tmp_path / "Pretraining" / "nuscenes" / "version_0") == 2


def test_logs_that_cannot_be_written(
    tiny_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("also_selfsup.training.epoch_log.read_log", lambda path: raising(error)())
    with pytest.raises(WriteError, match="version_0: cannot be written .No space left.*Make room there"):
        pretrain(tiny_settings(*SMALL))


def test_other_errors_of_the_system_are_not_explained_away(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)
    for error in (OSError(errno.EMFILE, "too many open files"), ConnectionError("gone"), RuntimeError("x")):
        assert explain(error, module, folder=tmp_path) is None  # type: ignore[arg-type]
    assert leaves_state_sound(UserError("a scan")) and not leaves_state_sound(WriteError("a disk"))


def test_parts_of_killed_writers_are_cleared_away(
    tiny_settings: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "x" / "version_0"
    folder.mkdir(parents=True)
    write_atomically({"a": 1}, folder / "last.ckpt")
    (folder / ".last.ckpt.12345.part").write_bytes(b"half")
    with caplog.at_level(logging.INFO):
        run = open_run(tiny_settings("cfg.resume=auto"), "x")
    assert run.checkpoint == folder / "last.ckpt" and not list(folder.glob(".*.part"))
