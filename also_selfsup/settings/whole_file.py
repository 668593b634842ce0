"""Under all that writes results: a file is there whole, or as it was."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to, which takes its place once it is written.

    What fails, Ctrl-C too, leaves `path` as it was and nothing beside it; a process that is killed leaves the
    hidden file, `.NAME.PID.part`.

    Args:
        path: File to make or replace; its folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # of a file system that went read-only meanwhile: the error at hand says so
            part.unlink(missing_ok=True)
        raise
