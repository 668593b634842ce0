"""Behind training: a checkpoint reaches its file whole, or the file stays as it was."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from also_selfsup.settings.names import UserError
from also_selfsup.settings.whole_file import whole_file

# What the system says when a file cannot be written, and the cure.
UNWRITABLE = {
    errno.ENOSPC: "Make room there",
    errno.EDQUOT: "Make room in your quota",
    errno.EROFS: "Make the file system writable",
    errno.EACCES: "Get the right to write there",
    errno.EPERM: "Get the right to write there",
    errno.EEXIST: "Name a folder, not a file",
    errno.ENOTDIR: "Name a folder, not a file",
}


class WriteError(UserError, OSError):
    """A file cannot be written: which, why, and what to do."""


def explain_write_error(error: OSError, path: Path) -> WriteError:
    """Word the error about `path`, which could not be written."""
    cure = UNWRITABLE.get(error.errno or 0, "Check the disk and the rights")
    former = "; the former file is whole" if path.is_file() else ""
    return WriteError(f"{path}: cannot be written ({error.strerror or error}){former}. {cure}.")


def write_atomically(content: Any, path: Path) -> None:
    """Save `content` as `path` so that no reader, and no later run, ever meets half a file.

    A killed process leaves the former file in place, and at most a hidden `.NAME.PID.part` beside it.

    Args:
        content: Anything that torch.save takes.
        path: File to make or replace; its folder is made where it is missing.

    Raises:
        WriteError: The disk is full, the folder not writable; `path` is as it was.
    """
    try:
        with whole_file(path) as part, part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        if isinstance(cause := _cause(error), OSError):
            raise explain_write_error(cause, path) from error
        raise
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed while writing left in a folder of checkpoints."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def folders_for_results(*folders: Path) -> Iterator[None]:
    """Make folders before long work whose results go there; if it fails, those that are empty go again.

    Raises:
        WriteError: One cannot be made, or nothing can be written into it.
    """
    missing = [path for folder in folders for path in missing_folders(folder)]
    try:
        for folder in folders:
            _try_out(folder)
        yield
    except BaseException:  # also Ctrl-C
        remove_empty(missing)
        raise


def _try_out(folder: Path) -> None:
    """Make a folder and write something that has no name and is gone at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise explain_write_error(error, folder) from error


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it, innermost first, as far as they are still to be made."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those folders, in their order, that hold nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # it holds something, or was never made
            continue


def _cause(error: BaseException) -> BaseException:
    """What lies behind an error: torch's writer answers a full disk with an error of its own on top."""
    while not isinstance(error, OSError) and error.__context__ is not None:
        error = error.__context__
    return error


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
