"""Beside a training: `report.html` in the folder of the run, written anew at every validation.

Drawing happens between epochs, on the first process, behind the checkpoint, for a bounded time; nothing that
fails in it ends the run.
"""

from functools import partial

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import TensorBoardLogger

from also_selfsup.data.skip_log import SkipLog
from also_selfsup.reporting.attempts import Attempts
from also_selfsup.reporting.drawn import Artist, Drawn
from also_selfsup.reporting.machine import versions
from also_selfsup.reporting.occupancy_artist import OccupancyArtist
from also_selfsup.reporting.report import Picture, Section, Text, write_report
from also_selfsup.reporting.run_curves import draw_curves
from also_selfsup.reporting.run_page import State, closing_sections, result, speed_table
from also_selfsup.reporting.segmentation_artist import SegmentationArtist
from also_selfsup.reporting.tensorboard import add_pictures
from also_selfsup.training.callbacks import SkippedScans
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.runs import PICTURES, REPORT, Run


class RunReport(Checkpoint):
    """Draws and writes the report; of the kind Checkpoint, because these run after logs and checkpoints.

    Args:
        script: Name of the script, for the commands that the page names.
        data: Of the run.
        run: Its folder.
        artist: Draws what the task's network does.
    """

    def __init__(self, script: str, data: LidarDataModule, run: Run, artist: Artist) -> None:
        self.script, self.data, self.run, self.artist = script, data, run, artist
        self.drawn = Drawn()
        self.curves: list[Picture] = []
        self.seconds: list[float] = []
        self._step_of_curves = -1
        self._validated = False
        self._notes: list[str] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember it; the epoch's training figures and its checkpoint come first."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and write, if the epoch was validated."""
        if self._validated and trainer.is_global_zero:
            attempts = Attempts(self.data.settings.logging.picture_seconds)
            folder = self.run.folder / PICTURES
            draw = partial(self.artist.draw, trainer, pl_module, folder=folder, attempts=attempts)
            self.drawn = attempts("pictures of the network", draw) or Drawn()
            self._log_pictures(trainer, attempts)
            self.seconds.append(attempts.spent)
            self._write(trainer, pl_module, attempts=attempts, state=self._state(trainer, 1))
            self.seconds[-1] = attempts.spent
        self._validated = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the page of the finished run."""
        if trainer.is_global_zero:
            state = self._state(trainer, ended="the run has ended as planned")
            self._write(trainer, pl_module, attempts=self._last_attempts(), state=state)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write why the run stopped."""
        if trainer.is_global_zero:
            reason = f"{type(exception).__name__}: {exception}".rstrip(": ")
            state = self._state(trainer, ended=f"then the run was stopped by {reason}")
            self._write(trainer, pl_module, attempts=self._last_attempts(), state=state)

    def _write(self, trainer: Trainer, module: LightningModule, *, attempts: Attempts, state: State) -> None:
        """Write the page; parts that fail are left out, and named at its end."""
        settings, folder = self.data.settings, self.run.folder
        if trainer.global_step != self._step_of_curves:
            self.curves, self._step_of_curves = self._draw_curves(attempts), trainer.global_step
        best = attempts("result", lambda: result(folder, self.artist.score))
        closing = attempts(
            "figures and settings",
            lambda: closing_sections(
                self.script,
                self.data,
                self.run,
                state=state,
                speed=speed_table(folder, drawing=self.seconds),
                versions=versions(module.device),
                skipped=_skipped(trainer),
            ),
        )
        sections = [
            Section("How it goes", [*([best] if best else []), *self.curves]),
            *self.drawn.sections,
            *(closing or []),
            *_left_out(attempts.notes),
        ]
        title = f"{self.artist.title}: {settings.name}"
        page = partial(write_report, folder / REPORT, sections, title=title, subtitle=state.sentence())
        attempts("page", page)
        self._notes = attempts.notes

    def _draw_curves(self, attempts: Attempts) -> list[Picture]:
        found, folder = [], self.run.folder
        for wanted in self.artist.curves:
            draw = partial(draw_curves, folder, wanted, to=folder / PICTURES)
            if (picture := attempts(f"curves of {wanted.name}", draw)) is not None:
                found.append(picture)
        return found

    def _log_pictures(self, trainer: Trainer, attempts: Attempts) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                step, pictures = trainer.global_step, self.drawn.pictures
                add = partial(add_pictures, logger, pictures, step=step)
                attempts.in_time("pictures for TensorBoard", add)

    def _last_attempts(self) -> Attempts:
        """Time of its own for the last page, which says again what was left out of the last pictures."""
        attempts = Attempts(self.data.settings.logging.picture_seconds)
        attempts.notes += self._notes
        return attempts

    def _state(self, trainer: Trainer, running: int = 0, *, ended: str = "") -> State:
        """At the end of an epoch, `running` is 1: Lightning counts the epoch later."""
        return State(trainer.current_epoch + running, trainer.max_epochs or 0, ended)


def run_report(script: str, data: LidarDataModule, run: Run) -> list[RunReport]:
    """The callback that draws a run, as a list; an empty one where cfg.logging.report is off."""
    logging = data.settings.logging
    if not logging.report:
        return []
    artist: Artist = (
        SegmentationArtist() if data.labels else OccupancyArtist(data, count=logging.picture_scans)
    )
    return [RunReport(script, data, run, artist)]


def _skipped(trainer: Trainer) -> SkipLog | None:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning's connector
    return next((c.found for c in callbacks if isinstance(c, SkippedScans)), None)


def _left_out(notes: list[str]) -> list[Section]:
    return [Section("Left out of this page", [Text(note) for note in dict.fromkeys(notes)])] if notes else []
