"""Telling of compilation."""

import logging
from collections.abc import Callable

import pytest
import torch

from also_selfsup.transforms.compiling import CompileLog, noting
from also_selfsup.transforms.launch import Launcher


def test_compilation_is_told_once_and_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    log = CompileLog()
    with caplog.at_level(logging.INFO, "also_selfsup"):
        for seconds in (0.01, 1.5, 2.0):  # the first was on the disk
            log.note(seconds)
        log.tell()
        log.tell()
    assert len(caplog.messages) == 2
    assert "compiling kernels" in caplog.messages[0]
    assert caplog.messages[1] == "compiled 2 kernels in 4 s"


def test_nothing_is_told_where_all_kernels_were_kept(caplog: pytest.LogCaptureFixture) -> None:
    log = CompileLog()
    with caplog.at_level(logging.INFO, "also_selfsup"):
        log.note(0.01)
        log.tell()
    assert not caplog.messages


class Kernel:
    """In place of one under `triton.jit`: notes how it is launched and compiled."""

    arg_names = ("x", "out", "count", "B")

    def __init__(self) -> None:
        self.launched: list[tuple[int, ...]] = []
        self.compiled: list[tuple[object, ...]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **constants: self.launched.append(grid)

    def warmup(self, *kinds: object, grid: tuple[int, ...], **constants: object) -> None:
        self.compiled.append((*kinds, constants["B"], constants["num_warps"]))


def test_a_pass_that_is_only_noted_launches_nothing_and_compiles_each_kernel_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    kernel, x = Kernel(), torch.zeros(64)
    launch = Launcher(kernel)
    with noting() as noted:
        for count in (5, 7):
            launch((count, 1, 1), (x, x.int(), count), constants={"B": 32})
        launch((1, 1, 1), (x, x.int(), 1), constants={"B": 64}, warps=8)
        launch((1, 1, 1), (x[1:], x.int(), 1), constants={"B": 32})  # its place is known at the launch alone
    assert kernel.launched == []
    noted.compile_all()
    assert sorted(kernel.compiled, key=str) == [
        (torch.float32, torch.int32, 1, 64, 8),
        (torch.float32, torch.int32, 7, 32, 4),
    ]
    launch((3, 1, 1), (x, x.int(), 3), constants={"B": 32})
    assert kernel.launched == [(3, 1, 1)]


def test_an_error_of_the_compiler_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    kernel, x = Kernel(), torch.zeros(4)
    monkeypatch.setattr(kernel, "warmup", lambda *kinds, **options: 1 / 0)
    with noting() as noted:
        Launcher(kernel)((1, 1, 1), (x, x, 1), constants={"B": 32})
    with pytest.raises(ZeroDivisionError):
        noted.compile_all()
