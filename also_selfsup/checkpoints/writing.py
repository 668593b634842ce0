"""Behind training: a checkpoint reaches its file whole, or the file stays as it was."""

import os
from pathlib import Path
from typing import Any

import torch


def write_atomically(content: Any, path: Path) -> None:
    """Save `content` as `path` so that no reader, and no later run, ever meets half a file.

    A killed process leaves the former file in place, and at most a hidden `.NAME.PID.part` beside it.

    Args:
        content: Anything that torch.save takes.
        path: File to make or replace; its folder is made where it is missing.

    Raises:
        OSError: The disk is full, the folder not writable; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:  # also Ctrl-C: nothing unfinished stays behind
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name outlive a power cut, where the file system can tell."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # some systems open no folders; the file itself is safe already
        return
    try:
        os.fsync(handle)
    except OSError:  # network file systems may refuse it; likewise
        return
    finally:
        os.close(handle)
