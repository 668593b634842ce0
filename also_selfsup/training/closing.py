"""After the last step: one line that says what was done, how well, and what to type next."""

from pytorch_lightning import Trainer

from also_selfsup.training.callbacks import SkippedScans, Throughput
from also_selfsup.training.runs import Run


def closing_line(trainer: Trainer, run: Run, next_command: str) -> str:
    """Epochs, steps, rate, best score, skipped scans, folder, and the next command."""
    parts = [f"{trainer.current_epoch} epochs, {trainer.global_step} steps"]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by Lightning's connector
        if isinstance(callback, Throughput) and callback.rate > 0:
            parts.append(f"{callback.rate:.1f} scans/s")
        if isinstance(callback, SkippedScans) and callback.log.count:
            parts.append(f"{callback.log.count} bad scans skipped")
    best = trainer.checkpoint_callback
    score = getattr(best, "best_model_score", None)
    if score is not None:
        parts.append(f"best {getattr(best, 'monitor', '')} {float(score):.4f}")
    return f"Done: {', '.join(parts)}. Results in {run.folder}\nNext: {next_command}"
