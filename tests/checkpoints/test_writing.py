"""A checkpoint's file is whole at any moment, whatever happens while it is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.checkpoints.writing import WriteError, folders_for_results, write_atomically

KILLED_WHILE_WRITING = """
import os, signal, sys, torch
from pathlib import Path
from also_selfsup.checkpoints.writing import write_atomically

class Killer:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

write_atomically({"a": torch.ones(100_000), "b": Killer()}, Path(sys.argv[1]))
"""


class Failing:
    """Cannot be saved."""

    def __reduce__(self) -> str:
        raise RuntimeError("no room")


def test_writes_into_a_new_folder_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    for number in (1, 2):
        write_atomically({"a": torch.tensor(number)}, path)
        assert read_checkpoint(path)["a"] == number
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_failure_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_atomically({"a": torch.tensor(1)}, path)
    with pytest.raises(RuntimeError, match="no room"):
        write_atomically({"a": torch.ones(1000), "b": Failing()}, path)
    assert read_checkpoint(path)["a"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_kill_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_atomically({"a": torch.tensor(1)}, path)
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)], check=False)
    assert done.returncode == -9
    assert read_checkpoint(path)["a"] == 1
    assert all(file.name.startswith(".last.ckpt.") for file in tmp_path.iterdir() if file != path)


def test_permissions_are_those_of_any_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically({"a": 1}, tmp_path / "x.ckpt")
    assert os.stat(tmp_path / "x.ckpt").st_mode == os.stat(tmp_path / "plain").st_mode


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/proc/results", "/proc/results: cannot be written"),
        ("/proc", "/proc: cannot be written"),
        ("file", r"cannot be written \(File exists\); the former file is whole\. Name a folder, not a file"),
        ("file/below", r"cannot be written \(Not a directory\)\. Name a folder, not a file"),
    ],
)
def test_a_folder_that_takes_no_results_is_told_before_the_work(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()
    began = False
    with pytest.raises(WriteError, match=said), folders_for_results(tmp_path / "new", tmp_path / name):
        began = True
    assert not began and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_work_that_fails_leaves_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    folders = [tmp_path / "a" / "b", tmp_path / "a" / "c", tmp_path / "old"]
    with pytest.raises(KeyboardInterrupt), folders_for_results(*folders):
        assert all(folder.is_dir() and not list(folder.iterdir()) for folder in folders)
        (folders[1] / "result").touch()
        raise KeyboardInterrupt
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", folders[1], folders[1] / "result", folders[2]]
