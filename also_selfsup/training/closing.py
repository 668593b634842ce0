"""After the last step: a few lines that say what was done, how well, and what to type next."""

import sys

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from also_selfsup.checkpoints.next_command import resume_command
from also_selfsup.training.callbacks import SkippedScans, Throughput
from also_selfsup.training.preemption import Preempted
from also_selfsup.training.runs import Run


def closing_line(trainer: Trainer, run: Run, next_command: str) -> str:
    """Epochs, steps, rate, best score, skipped scans, folder, report, and the next command."""
    parts = [f"{trainer.current_epoch} epochs, {trainer.global_step} steps"]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by Lightning's connector
        if isinstance(callback, Throughput) and callback.rate > 0:
            parts.append(f"{callback.rate:.1f} scans/s")
        if isinstance(callback, SkippedScans) and callback.found.count:
            parts.append(f"{callback.found.count} bad scans skipped")
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            parts.append(f"best {callback.monitor} {float(callback.best_model_score):.4f}")
    results = f"Done: {', '.join(parts)}. Results in {run.folder}"
    report = f"\nReport: {run.report}" if run.report.is_file() else ""
    return f"{results}{report}\nNext: {next_command}"


def preempted_line(stop: Preempted, run: Run) -> str:
    """Where a run was stopped by SIGTERM, and the command that continues it."""
    done = (
        f"after batch {stop.batches} of epoch {stop.epoch}" if stop.batches else f"before epoch {stop.epoch}"
    )
    return f"Stopped by SIGTERM {done}, kept in {run.last}\nContinue: {resume_command(sys.argv)}"


def interrupted_line(run: Run) -> str:
    """Where a run that Ctrl-C ended goes on, and the command that continues it."""
    kept = f"{run.last} is as it was written last" if run.last.is_file() else "no checkpoint was written yet"
    hint = "SIGTERM would have kept the last step"
    return f"Stopped by Ctrl-C: {kept} ({hint}).\nContinue: {resume_command(sys.argv)}"
