"""Around the training loop: checkpoints within an epoch, and the end of a run that is asked to make room.

SIGTERM is what SLURM and cloud machines send before they take the machine away. The step at hand is finished,
a checkpoint written, and the run ended; one that resumes from there sees the batches that were to come.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from also_selfsup.data.scan import Batch
from also_selfsup.settings.names import UserError
from also_selfsup.training.faults import leaves_state_sound
from also_selfsup.training.position import batches_done

logger = logging.getLogger(__name__)

# Several processes have to stop at the same step; they ask one another every so many steps.
AGREEMENT_STEPS = 10
# Lightning's count of validation batches when the first one is at work: it then begins the validation anew.
AT_FIRST_BATCH = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


class Preempted(Exception):
    """The run was asked to end, by SIGTERM, and has written its checkpoint.

    Attributes:
        epoch: Counted from 0, that goes on after resuming.
        batches: Of it that are done.
    """

    def __init__(self, epoch: int, batches: int) -> None:
        super().__init__(f"stopped in epoch {epoch} after batch {batches}")
        self.epoch, self.batches = epoch, batches


class WithinEpoch(Checkpoint):
    """Writes `path` every so many steps or minutes and on SIGTERM; must stand last among the callbacks.

    Args:
        path: The checkpoint to replace.
        steps: Optimiser steps between two checkpoints; None: no such.
        minutes: Between two checkpoints; None: no such.
        interval: Epochs after which `LastCheckpoint` writes by itself.
        settle: Called before a checkpoint is written: nothing of an unsound step may be in it.
    """

    def __init__(
        self,
        path: Path,
        *,
        steps: int | None,
        minutes: float | None,
        settle: Callable[[Trainer], None],
        interval: int = 1,
    ) -> None:
        self.path, self.steps, self.minutes, self.settle = path, steps, minutes, settle
        self.interval = interval
        self.asked = False  # to end
        self._written_at = 0.0
        self._writing = False
        self._begun = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over SIGTERM: a run that is asked to end so early does one step first."""
        self._take_over()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over SIGTERM, where no validation came before."""
        self._written_at, self._begun = time.monotonic(), True
        self._take_over()

    def _take_over(self) -> None:
        """From Lightning, which gives it back to whoever had it when the run ends.

        Its own handler speaks to the other processes at once, in the middle of what they may be saying to
        one another.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write and end, where it is time to.

        The last batch of an epoch that is written anyway is left to that; the last epoch is finished.

        Raises:
            Preempted: After SIGTERM.
        """
        last = trainer.is_last_batch
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if (accumulating and not last) or (last and trainer.current_epoch + 1 == trainer.max_epochs):
            return
        ends = self._ends(trainer, batch_idx)
        followed = last and (trainer.current_epoch + 1) % self.interval == 0
        if ends or (not followed and self._is_due(trainer, batch_idx)):
            self._write(trainer)
        if ends:
            raise Preempted(trainer.current_epoch, batch_idx + 1)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End within a validation, which is begun anew after resuming; several processes finish theirs.

        Raises:
            Preempted: After SIGTERM.
        """
        if trainer.sanity_checking or trainer.world_size > 1 or not self._ends(trainer, 0):
            return
        self._write(trainer)
        raise Preempted(trainer.current_epoch, trainer.fit_loop.batch_idx + 1)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what is done when the run ends for a fault that leaves weights and counts sound.

        Several processes do not: the others may not know yet, and would have to take part.
        """
        if trainer.world_size > 1 or trainer.sanity_checking or not leaves_state_sound(exception):
            return
        if not self._begun or not batches_done(trainer):  # a refused checkpoint brings its count along
            return
        try:
            self._write(trainer)
        except UserError as error:
            logger.warning("nothing new could be written, the former checkpoint is whole: %s", error)
        else:
            logger.info("%s is of the last finished step: go on with cfg.resume=auto", self.path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make Lightning's counts in our own checkpoints those of finished steps.

        After the last step of an epoch, its validation, if one is due, is the next to be done: from its first
        batch, for the figures of a validation so far are not in the file.
        """
        if not self._writing:
            return
        loops = checkpoint["loops"]["fit_loop"]
        all_done = batches_done(trainer) == trainer.num_training_batches
        validates = trainer.enable_validation and (trainer.current_epoch + 1) % _interval(trainer) == 0
        for count in ("total", "current"):
            batches = loops["epoch_loop.batch_progress"][count]
            batches["ready"] = batches["started"] = batches["processed"]
            if all_done:
                batches["completed"] = batches["processed"]
            if all_done and validates:
                loops["epoch_loop.val_loop.batch_progress"][count] = dict(AT_FIRST_BATCH)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def _ends(self, trainer: Trainer, batch_idx: int) -> bool:
        """Whether to end now; the same answer in all processes."""
        asked = self.asked or trainer.received_sigterm
        if trainer.world_size == 1 or not _agree(trainer, batch_idx):
            return asked and trainer.world_size == 1
        return trainer.strategy.reduce_boolean_decision(asked, all=False)

    def _is_due(self, trainer: Trainer, batch_idx: int) -> bool:
        """Whether it is time for a checkpoint; the same answer in all processes."""
        if self.steps is not None and trainer.global_step % self.steps == 0:
            return True
        if self.minutes is None or (trainer.world_size > 1 and not _agree(trainer, batch_idx)):
            return False
        late = time.monotonic() - self._written_at >= 60 * self.minutes
        return trainer.strategy.reduce_boolean_decision(late, all=False)

    def _write(self, trainer: Trainer) -> None:
        self.settle(trainer)
        self._writing = True
        try:
            trainer.save_checkpoint(self.path)
        finally:
            self._writing = False
        self._written_at = time.monotonic()


def _interval(trainer: Trainer) -> int:
    """Epochs between validations."""
    return trainer.check_val_every_n_epoch or 1


def _agree(trainer: Trainer, batch_idx: int) -> bool:
    """Whether several processes ask one another after this batch, with which an optimiser step ends."""
    return (batch_idx // trainer.accumulate_grad_batches) % AGREEMENT_STEPS == 0
