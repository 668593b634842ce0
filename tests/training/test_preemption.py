"""A run that is asked to end, or killed, goes on as if nothing had happened: bit by bit the unbroken one."""

import json
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from also_selfsup.checkpoints.next_command import resume_command
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training import datamodule
from also_selfsup.training.epoch_log import read_log
from also_selfsup.training.position import (
    EpochSampler,
    Position,
    end_loader_processes_at_exit,
    ignore_sigterm,
)
from also_selfsup.training.preemption import AGREEMENT_STEPS, WithinEpoch

FORK = multiprocessing.get_context("fork")


def test_killed_at_random_moments(root: Path, tmp_path: Path) -> None:
    script = root / "tests" / "benchmarks" / "kills.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", str(tmp_path / "found.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads((tmp_path / "found.json").read_text())
    assert counts.pop("problems") == []
    assert counts.get("died by SIGTERM", 0) + counts.get("died by SIGKILL", 0) >= 4
    assert counts["finished"] >= 1 and counts["checkpoints read whole"] >= 2


def test_sigterm_ends_a_script_after_a_checkpoint(
    tiny: Callable[..., list[str]], tmp_path: Path, start_script: Callable[..., "subprocess.Popen[str]"]
) -> None:
    small = ("cfg.network.backbone=SPVCNN0p5", "cfg.training.max_epochs=1000", "cfg.checkpoint_steps=1")
    process = start_script("train_selfsupervised", "cfg=nuscenes", *tiny(*small, "cfg.training.batch_size=1"))
    last = tmp_path / "Pretraining" / "nuscenes" / "version_0" / "last.ckpt"
    deadline = time.monotonic() + 200
    while not last.is_file():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 128 + signal.SIGTERM, output
    told, command = output.strip().splitlines()[-2:]
    assert told.startswith("Stopped by SIGTERM") and str(last) in told
    assert command.startswith("Continue: python ") and command.endswith(" cfg.resume=auto")
    assert "cfg=nuscenes" in command and "Traceback" not in output
    assert torch.load(last, weights_only=True)["global_step"] >= 1


@pytest.mark.parametrize(("ahead", "step", "interval"), [(True, 3, 1), (False, 2, 2), (False, 2, 1)])
def test_every_place_of_an_epoch_is_a_place_to_stop(
    tiny_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ahead: bool,
    step: int,
    interval: int,
) -> None:
    """Within an epoch, batches prepared ahead; after its last batch, without and with a validation due."""
    monkeypatch.setattr(datamodule, "prepares_ahead", lambda device: ahead)
    small = ("cfg.network.backbone=SPVCNN0p5", "cfg.training.max_epochs=2", "cfg.training.batch_size=1")
    small += (f"cfg.val_interval={interval}", "cfg.checkpoint_interval=2")
    pretrain(tiny_settings(*small, save_dir=tmp_path / "unbroken"))
    with monkeypatch.context() as patch:
        patch.setattr(WithinEpoch, "_ends", lambda self, trainer, batch_idx: trainer.global_step == step)
        with pytest.raises(SystemExit) as end:
            pretrain(tiny_settings(*small, save_dir=tmp_path / "broken"))
    assert end.value.code == 128 + signal.SIGTERM
    run = pretrain(tiny_settings(*small, "cfg.resume=auto", save_dir=tmp_path / "broken"))
    expected = tmp_path / "unbroken" / run.folder.relative_to(tmp_path / "broken")
    one, other = (torch.load(path / "last.ckpt", weights_only=True) for path in (expected, run.folder))
    assert all(torch.equal(one["state_dict"][name], other["state_dict"][name]) for name in one["state_dict"])
    for stage in ("train", "val"):
        rows = [read_log(folder / f"logs_{stage}.csv") for folder in (expected, run.folder)]
        assert [[row["epoch"], row["loss"]] for row in rows[0]] == [[r["epoch"], r["loss"]] for r in rows[1]]
        assert len(rows[0]) == (2 if stage == "train" else 2 // interval)


def test_the_command_to_continue_is_the_one_typed() -> None:
    typed = ["train_selfsupervised.py", "cfg=nuscenes", "cfg.resume=old.ckpt", "cfg.name='a b'"]
    command = resume_command(typed)
    assert shlex.split(command) == ["python", *typed[:2], typed[3], "cfg.resume=auto"]


@pytest.mark.parametrize(("world", "rank"), [(1, 0), (3, 1)])
def test_an_epoch_goes_on_where_it_was_left_and_the_others_are_whole(world: int, rank: int) -> None:
    data = range(100)
    known = DistributedSampler(data, num_replicas=world, rank=rank, shuffle=True, seed=4)  # type: ignore[arg-type]
    ours = EpochSampler(data, world=world, rank=rank, seed=4)
    ours.start(2, batches=4, batch_size=3)
    for epoch in range(4):
        for sampler in (known, ours):
            sampler.set_epoch(epoch)
        assert list(ours) == list(known)[12 if epoch == 2 else 0 :]
        assert len(ours) == len(known) and ours.first_batch() == (4 if epoch == 2 else 0)


def test_an_epoch_is_not_finished_with_other_batches() -> None:
    setup = {"batch_size": 2, "processes": 1, "scans": 100}
    within = Position(epoch=3, batches=7, of=50, **setup)
    within.check_fit(setup)
    for name, words in (("batch_size", "batch size 2; now it is 5"), ("processes", r"num_device\) 1; now")):
        with pytest.raises(SettingsError, match=f"after batch 7 of 50 of epoch 3, with .*{words}"):
            within.check_fit({**setup, name: 5})
    replace(within, batches=50).check_fit({**setup, "batch_size": 5})


def leave_a_loader_process() -> None:
    """Exit while a process that ignores SIGTERM is left, as when a traceback holds the loader."""
    end_loader_processes_at_exit()
    FORK.Process(target=wait_unmoved, daemon=True).start()
    time.sleep(0.3)


def wait_unmoved() -> None:
    ignore_sigterm(0)
    time.sleep(600)


def test_loader_processes_do_not_keep_one_that_exits() -> None:
    process = FORK.Process(target=leave_a_loader_process)
    process.start()
    process.join(60)
    assert process.exitcode == 0


class FakeTrainer(SimpleNamespace):
    """What `WithinEpoch` asks a trainer, and what it has it save."""

    def __init__(self, **given: Any) -> None:
        self.saved: list[int] = []
        strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
        usual = {"accumulate_grad_batches": 1, "is_last_batch": False, "world_size": 1, "global_step": 0}
        usual |= {"current_epoch": 0, "max_epochs": 2}
        super().__init__(**{**usual, "received_sigterm": False, "strategy": strategy, **given})

    def save_checkpoint(self, path: Path) -> None:
        self.saved.append(self.global_step)

    def step(self, callback: WithinEpoch, batch_idx: int) -> None:
        self.global_step += (batch_idx + 1) % self.accumulate_grad_batches == 0
        callback.on_train_batch_end(self, None, None, {}, batch_idx)  # type: ignore[arg-type]


def within_epoch(steps: int | None = None, minutes: float | None = None, interval: int = 1) -> WithinEpoch:
    return WithinEpoch(
        Path("last.ckpt"), steps=steps, minutes=minutes, settle=lambda trainer: None, interval=interval
    )


@pytest.mark.parametrize(("interval", "saved"), [(1, []), (3, [1, 2, 4, 5, 7, 8])])
def test_an_epoch_of_one_step_is_written_if_nobody_else_does(interval: int, saved: list[int]) -> None:
    trainer, callback = FakeTrainer(is_last_batch=True, max_epochs=10), within_epoch(1, interval=interval)
    for trainer.current_epoch in range(10):  # the last one is always written by itself
        trainer.step(callback, 0)
    assert trainer.saved == saved


def test_a_checkpoint_every_n_steps_of_the_optimiser() -> None:
    trainer = FakeTrainer(accumulate_grad_batches=2)
    for batch_idx in range(24):
        trainer.step(within_epoch(steps=5), batch_idx)
    assert trainer.saved == [5, 10]


def test_a_checkpoint_every_n_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    trainer, callback = FakeTrainer(), within_epoch(minutes=2)
    callback._written_at = now
    for batch_idx in range(9):
        now += 30
        trainer.step(callback, batch_idx)
    assert trainer.saved == [4, 8]


@pytest.mark.parametrize("accumulated", [1, 2, 3])
def test_several_processes_ask_one_another_now_and_then_only(accumulated: int) -> None:
    asked: list[bool] = []

    def reduce(decision: bool, all: bool) -> bool:
        asked.append(decision)
        return decision

    trainer, callback = FakeTrainer(world_size=2, accumulate_grad_batches=accumulated), within_epoch()
    trainer.strategy.reduce_boolean_decision = reduce
    for batch_idx in range(3 * AGREEMENT_STEPS * accumulated):
        trainer.step(callback, batch_idx)
    assert asked == [False] * 3 and trainer.saved == []
