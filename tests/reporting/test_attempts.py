"""Parts that fail or take too long are left out, logged and noted; nothing else is."""

import logging

import pytest

from also_selfsup.reporting import attempts as module
from also_selfsup.reporting.attempts import Attempts


def fail() -> None:
    raise OSError("disk full")


def test_what_works_is_answered() -> None:
    attempts = Attempts(10)
    assert attempts("a", lambda: 3) == 3 and attempts.in_time("b", lambda: 4) == 4
    assert attempts.notes == []


def test_failures_are_logged_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    attempts = Attempts(10)
    with caplog.at_level(logging.WARNING):
        assert attempts("curves", fail) is None
    [note] = attempts.notes
    assert "curves" in note and "OSError: disk full" in note
    assert [record.levelname for record in caplog.records] == ["WARNING"] and note in caplog.text


def test_what_ends_a_process_is_not_held_up() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Attempts(10)("a", interrupt)


def test_nothing_of_bounded_time_begins_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    attempts, done = Attempts(5.0), []

    def long() -> None:
        done.append("begun")
        now[0] += 6
        attempts.check()
        done.append("ended")

    attempts.in_time("first", long)
    attempts.in_time("second", long)
    assert attempts("page", lambda: "written") == "written"
    assert done == ["begun"]
    assert [note.partition(":")[0] for note in attempts.notes] == ["first", "second"]
    assert all("6.0 s" in note and "cfg.logging.picture_seconds is 5" in note for note in attempts.notes)
