"""Where a run's results lie, and which checkpoint it continues from.

`save_dir/Pretraining/<name>/version_k/` and `save_dir/Downstream/<name>/<start>/version_k/` hold config.yaml,
the logs, the checkpoints `last.ckpt` (every epoch) and `best.ckpt`, and report.html with its pictures.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from also_selfsup.checkpoints.writing import missing_folders, remove_empty, remove_parts
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import resolve_path
from also_selfsup.settings.schema import Settings

logger = logging.getLogger(__name__)

LAST = "last.ckpt"
BEST = "best.ckpt"
CONFIG = "config.yaml"
REPORT = "report.html"
PICTURES = "pictures"  # of the report
# Lightning starts the other processes of a node from the first one's environment: they join its folder.
FOLDER_OF_FIRST_PROCESS = "ALSO_SELFSUP_RUN_FOLDER"


@dataclass(frozen=True)
class Run:
    """A folder of results and, when the run goes on from an earlier one, the checkpoint to start at.

    Attributes:
        folder: Of the results.
        checkpoint: To start at; None: the run begins.
        made: Folders that were made for this run, innermost first.
    """

    folder: Path
    checkpoint: Path | None
    made: Sequence[Path] = ()

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.folder / LAST

    @property
    def report(self) -> Path:
        """The page about the run, if it was drawn."""
        return self.folder / REPORT


def open_run(settings: Settings, *parts: str) -> Run:
    """Choose the folder `save_dir/parts/version_k`; make it, and write config.yaml into it, where it is new.

    `cfg.resume=auto` goes on in the newest version that has a last checkpoint; a path goes on in that
    checkpoint's folder; otherwise, and where auto finds none, a new version begins.

    Raises:
        SettingsError: cfg.resume names no file, or the folder cannot be written.
    """
    parent = resolve_path(settings.save_dir).joinpath(*parts)
    checkpoint = _checkpoint_to_resume(settings.resume, parent)
    if "LOCAL_RANK" in os.environ and FOLDER_OF_FIRST_PROCESS in os.environ:
        return Run(Path(os.environ[FOLDER_OF_FIRST_PROCESS]), checkpoint)
    try:
        above = [] if checkpoint else missing_folders(parent)
        folder = checkpoint.parent if checkpoint else _make_version(parent)
        run = Run(folder, checkpoint, () if checkpoint else (folder, *above))
        with unless_refused(run):
            remove_parts(folder)
            if checkpoint is None:  # the other one keeps its settings until training goes on: `SettingsFile`
                save_settings(settings, folder / CONFIG)
    except OSError as error:
        raise SettingsError(
            f"cfg.save_dir={settings.save_dir}: cannot write to {parent} ({error})."
        ) from error
    os.environ[FOLDER_OF_FIRST_PROCESS] = str(folder)
    return run


@contextmanager
def unless_refused(run: Run) -> Iterator[None]:
    """Around what may still refuse a run: what `open_run` made for it is then removed."""
    try:
        yield
    except BaseException:  # also Ctrl-C
        if run.made and {path.name for path in run.folder.iterdir()} <= {CONFIG}:
            (run.folder / CONFIG).unlink(missing_ok=True)
            remove_empty(run.made)
        raise


def _checkpoint_to_resume(resume: str | None, parent: Path) -> Path | None:
    if resume is None:
        return None
    if resume != "auto":
        path = resolve_path(resume)
        if path.is_dir():
            raise SettingsError(
                f"cfg.resume={resume}: {path} is a folder; name its checkpoint, {path / LAST}."
                if (path / LAST).is_file()
                else f"cfg.resume={resume}: {path} is a folder without a {LAST}; name the {LAST} of a run."
            )
        if not path.is_file():
            raise SettingsError(f"cfg.resume={resume}: no such file (looked for {path}).")
        return path
    found = [version / LAST for version in _versions(parent) if (version / LAST).is_file()]
    if not found:
        logger.info("cfg.resume=auto: no %s under %s, a new run begins.", LAST, parent)
        return None
    return found[-1]


def _versions(parent: Path) -> list[Path]:
    """Existing version folders, oldest first."""
    numbers = [path.name.removeprefix("version_") for path in parent.glob("version_*")]
    return [parent / f"version_{number}" for number in sorted(int(n) for n in numbers if n.isdecimal())]


def _make_version(parent: Path) -> Path:
    """Make the next version's folder; of runs that begin at the same moment each gets one of its own."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        versions = _versions(parent)
        number = int(versions[-1].name.removeprefix("version_")) + 1 if versions else 0
        try:
            (parent / f"version_{number}").mkdir()
        except FileExistsError:
            if not (parent / f"version_{number}").is_dir():
                raise
        else:
            return parent / f"version_{number}"
