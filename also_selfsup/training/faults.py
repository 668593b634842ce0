"""Around the training loop: what a fault from outside means, and whether the run's state survives it."""

from pathlib import Path

import torch
from pytorch_lightning import LightningModule

from also_selfsup.checkpoints.writing import UNWRITABLE, explain_write_error
from also_selfsup.settings.names import UserError

# How torch begins the message about a loader process that is gone.
DEAD_WORKER = "DataLoader worker (pid"


class FaultError(UserError):
    """The machine failed the run: memory, or a process that was killed."""


def leaves_state_sound(error: BaseException) -> bool:
    """Whether weights and counts are those of the last finished step when `error` ends a run.

    They are for what a user can mend, such as a scan that cannot be read, for a lack of memory and for dead
    loader processes, all of which are met between steps or before their update. An error of the code may
    strike anywhere, and what cannot be written now will not be a moment later.
    """
    if isinstance(error, OSError):
        return False
    return isinstance(error, UserError | torch.cuda.OutOfMemoryError) or _is_dead_worker(error)


def explain(error: Exception, module: LightningModule, *, folder: Path) -> UserError | None:
    """Give the message for a user; None for an error that is none of the user's to mend.

    Args:
        error: That ended a run.
        module: It was training; its `batch_sizes` say what was at work.
        folder: Of the run, for a full disk does not say which file was written.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return FaultError(
            f"Out of GPU memory with {getattr(module, 'batch_sizes', 'the first batch')} "
            f"({str(error).splitlines()[0]}). Lower cfg.training.batch_size (cfg.downstream.batch_size) and "
            "raise cfg.trainer.accumulate_grad_batches instead, or set "
            "cfg.trainer.checkpoint_activations=true (all backbones but SECOND), or lower "
            "cfg.manifold_points or cfg.non_manifold_points, or set cfg.precision=auto."
        )
    if _is_dead_worker(error):
        return FaultError(
            f"A loader process died ({str(error).splitlines()[0]}). Usually the system ended it for lack of "
            "memory, or shared memory (/dev/shm) is full: lower cfg.threads; 0 reads in the main process."
        )
    if isinstance(error, OSError) and not isinstance(error, UserError) and error.errno in UNWRITABLE:
        return explain_write_error(error, Path(error.filename or folder))
    return None


def _is_dead_worker(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith(DEAD_WORKER)
