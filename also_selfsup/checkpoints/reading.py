"""Behind training: a checkpoint file becomes tensors and plain values; nothing of the file is run."""

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from also_selfsup.checkpoints.torch_files import LEGACY_START, read_legacy, read_zip
from also_selfsup.settings.names import UserError

logger = logging.getLogger(__name__)


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, of another kind, or does not fit; says file, finding and cure."""


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint of any age onto the CPU: ours, one of the published code, a plain state dict.

    Objects of other libraries in it (classes, configuration nodes, callbacks) are left out, and never made: a
    checkpoint can come from anyone.

    Args:
        path: A file of torch.save.

    Returns:
        Tensors, numbers, strings, and lists, tuples and dictionaries of them.

    Raises:
        CheckpointError: No such file, truncated, or no checkpoint; the message says what to do.
    """
    path = Path(path)
    kind = _kind(path)
    try:
        content, left_out = _read(path, zipped=kind == "zip")
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can fail in every way there is
        raise CheckpointError(
            f"{path}: damaged or incomplete ({type(error).__name__}: {_first_line(error)}); "
            "copy or download it again, or take an earlier checkpoint of the run."
        ) from error
    if left_out:
        logger.info("%s: left out, as objects of other libraries: %s", path, ", ".join(left_out))
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: holds no dictionary of weights, so it is no checkpoint of a network.")
    return content


def _read(path: Path, *, zipped: bool) -> tuple[Any, list[str]]:
    if not zipped:
        return read_legacy(path)
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "data.pkl" not in names or "constants.pkl" in names:  # the latter: a program, which loading would run
        found = "a TorchScript program" if "constants.pkl" in names else "a zip file of something else"
        raise CheckpointError(f"{path}: {found}, no checkpoint; name the .ckpt file of a run.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True), []
    except pickle.UnpicklingError:  # holds classes: read it without them
        return read_zip(path)


def _kind(path: Path) -> str:
    """`zip` or `legacy`, from the first bytes."""
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder; name a file in it{_neighbours(path)}.")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file{_neighbours(path.parent)}.")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start.startswith(LEGACY_START):
        return "legacy"
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: a Git LFS pointer instead of the file; run `git lfs pull`.")
    found = f"it starts with {start[:12]!r}" if start else "it is empty"
    raise CheckpointError(f"{path}: no checkpoint ({found}); name a file that torch.save wrote.")


def _neighbours(folder: Path) -> str:
    """What could have been meant."""
    names = sorted(file.name for file in folder.glob("*.ckpt")) if folder.is_dir() else []
    return f"; {folder} holds {', '.join(names[:8])}" if names else f"; {folder} holds no .ckpt file"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120]
