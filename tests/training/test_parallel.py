"""Several jobs at once: results in order, on shared devices, and an error that is not lost."""

import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.utils.data import DataLoader

from also_selfsup.training import parallel
from also_selfsup.training.parallel import FIRST_STEPS, FirstSteps, run_all


def square(number: int) -> tuple[int, int, str, int]:
    if number < 0:
        raise ValueError(f"{number} is negative")
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return number * number, os.getpid(), device, torch.get_num_threads()


marks: list[int] = []


class Marks:
    """One item: the marks that the process which reads it has."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        return len(marks)


def read_in_a_loader_process(number: int) -> list[int]:
    marks.append(number)
    return list(DataLoader(Marks(), batch_size=None, num_workers=1))  # type: ignore[arg-type]


def train(place: Path | None) -> float:
    """In a folder, when the kernels are there, once two others have begun; as a file, when it begins."""
    if place is None:
        raise ValueError("no place")
    if place.suffix:
        place.touch()
        return time.monotonic()
    time.sleep(1.0)  # compiles
    compiled, steps, anything = time.monotonic(), FirstSteps(), Any
    for number in range(FIRST_STEPS):
        steps.on_train_batch_end(anything, anything, None, None, number)
    while not len(list(place.glob("*.begun"))) == 2:
        time.sleep(0.01)
        assert time.monotonic() < compiled + 60
    return compiled


def silent() -> Console:
    return Console(file=io.StringIO())


def test_results_come_in_order_from_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_visible_devices", lambda: ["4", "6"])
    seen: list[int] = []
    done = run_all(
        square,
        list(range(6)),
        title="squares",
        console=silent(),
        workers=2,
        on_result=lambda result: seen.append(result[0]),
    )
    assert [result[0] for result in done] == [0, 1, 4, 9, 16, 25] and sorted(seen) == [0, 1, 4, 9, 16, 25]
    device_of = {pid: device for _, pid, device, _ in done}
    assert os.getpid() not in device_of and len(set(device_of.values())) == len(device_of)
    assert set(device_of.values()) <= {"4", "6"} and {result[3] for result in done} == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are spawned")
def test_loader_processes_of_a_worker_are_forks_of_it() -> None:
    """They know what it knows. Spawned, each would import torch before its first scan."""
    done = run_all(read_in_a_loader_process, [1, 2], title="marks", console=silent(), workers=2)
    assert all(found > 0 for [found] in done)


def test_one_worker_works_here() -> None:
    done = run_all(square, [3], title="squares", console=silent(), workers=4)
    assert done[0][:2] == (9, os.getpid())


def test_workers_take_the_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parallel._shared_out(["0", "1"], 5) == ["0", "1", "0", "1", "0"]
    assert parallel._shared_out([], 2) == ["", ""]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert parallel._visible_devices() == ["3", "GPU-5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert parallel._visible_devices() == ["0", "1"]


def test_an_error_of_a_job_is_raised() -> None:
    with pytest.raises(ValueError, match="-1 is negative"):
        run_all(square, [-1], title="squares", console=silent(), workers=1)


def test_on_a_gpu_the_others_begin_with_the_kernels_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    jobs = [tmp_path, tmp_path / "1.begun", tmp_path / "2.begun"]
    compiled, *others = run_all(train, jobs, title="trainings", console=silent(), workers=2)
    assert len(others) == 2 and min(others) >= compiled
    (tmp_path / "1.begun").unlink()
    with pytest.raises(ValueError, match="no place"):
        run_all(train, [None, tmp_path / "1.begun"], title="trainings", console=silent(), workers=2)


def test_steps_outside_a_worker_are_only_counted() -> None:
    steps, anything = FirstSteps(), Any
    for number in range(FIRST_STEPS + 1):
        steps.on_train_batch_end(anything, anything, None, None, number)
    assert steps.steps == FIRST_STEPS + 1 and parallel._compiled is None
