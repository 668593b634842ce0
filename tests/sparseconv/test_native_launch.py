"""Telling of compilation."""

import logging

import pytest

from also_selfsup.sparseconv.native.gpu.launch import CompileLog


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
