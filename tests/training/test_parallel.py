"""Several jobs at once: results in order, on shared devices, and an error that is not lost."""

import io
import os

import pytest
import torch
from rich.console import Console

from also_selfsup.training import parallel
from also_selfsup.training.parallel import run_all


def square(number: int) -> tuple[int, int, str, int]:
    if number < 0:
        raise ValueError(f"{number} is negative")
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return number * number, os.getpid(), device, torch.get_num_threads()


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
