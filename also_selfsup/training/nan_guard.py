"""Beside the training step: one with a NaN or infinite gradient leaves no trace, and is told of.

Whether a gradient is sound is decided on the device, where the fused optimiser reads it and leaves the update
out. The host looks at the answer a few steps later, when it is there anyway, so that no step waits for it.
"""

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor
from torch.optim import Optimizer

from also_selfsup.checkpoints.writing import write_atomically
from also_selfsup.data.scan import Batch
from also_selfsup.settings.names import UserError
from also_selfsup.training.buffer_copies import BufferCopies

logger = logging.getLogger(__name__)

# Steps between a device's answer and the host's look at it; on the CPU it is there at once.
LAG = 2
# Batches between two looks of a progress bar. Noting a figure takes Lightning as long as launching a loss.
SHOWN_EVERY = 10
# So many unsound steps in a row end a run that skips them: nothing is learnt any more.
MOST_IN_A_ROW = 10
# So many batches are kept for inspection.
MOST_FILES = 10


class NanError(UserError):
    """A training step had a NaN or infinite gradient: which, of which scans, and what to do."""


class Answer:
    """Numbers on their way from the device to the host.

    Args:
        values: (n,) on any device.
    """

    def __init__(self, values: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._values = values

    def read(self) -> list[float]:
        """Give the numbers, after waiting for what the device did before them, not for what came since."""
        if self._event is not None:
            self._event.synchronize()
        return [float(value) for value in self._values.tolist()]


@dataclass(frozen=True)
class Step:
    """An optimiser step of the last few.

    Attributes:
        epoch: Counted from 0.
        batch_idx: Of the last of `batches` within the epoch.
        batches: Whose gradients were added up.
        answer: Whether the gradient was unsound (1.0), and the loss.
        buffers: Where the module's buffers are kept as they were before the step.
    """

    epoch: int
    batch_idx: int
    batches: list[Batch]
    answer: Answer
    buffers: int


class NanGuard(Callback):
    """Leaves out each update by an unsound gradient, restores the statistics of its batch-norms, and tells.

    Logs `loss`, of the newest step that the host has looked at, where a logger or a progress bar shows it.

    Args:
        folder: Of the run; takes the batches of such steps.
        skip: Go on after such a step instead of ending the run.
        seed: Of the run, for the message.
        lag: Steps after which the host looks; None: by the device.
        logged_every: Optimiser steps after which loggers take figures.
    """

    def __init__(
        self, folder: Path, *, skip: bool, seed: int, lag: int | None = None, logged_every: int = 1
    ) -> None:
        self.folder, self.skip, self.seed, self.lag = folder, skip, seed, lag
        self.logged_every = logged_every
        self._steps: deque[Step] = deque()
        self._batches: list[Batch] = []
        self._unsound: Tensor | None = None
        self._in_a_row = self._files = 0
        self.loss: float | None = None
        self._buffers = BufferCopies([], copies=1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make room for the buffers."""
        if self.lag is None:
            self.lag = LAG if pl_module.device.type == "cuda" else 0
        self._buffers = BufferCopies(pl_module.buffers(), copies=self.lag + 1)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the buffers as they are before the step."""
        if not self._batches:
            self._buffers.keep()
        self._batches.append(_worth_keeping(batch))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at the gradient, which is the same in all processes, and have the update left out."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [grad for parameter in parameters if (grad := parameter.grad) is not None]
        # A scaler does the same, and infinite gradients are its daily work.
        if not gradients or scales_gradients(trainer):
            return
        self._unsound = unsound(gradients)
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = self._unsound  # type: ignore[attr-defined]  # read by the fused kernel
        elif self._unsound.item():
            optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Look at the answer of a former step, and at all of them when the epoch's last batch is done.

        Raises:
            NanError: A step was unsound, and the run is not to go on, or too many of them were.
        """
        # Lightning hands over the share of the batch in the step.
        loss = outputs["loss"].detach().float() * trainer.accumulate_grad_batches
        unsound = self._unsound if self._unsound is not None else (~torch.isfinite(loss)).float()
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch:
            answer = Answer(torch.stack((unsound, loss)))
            kept = self._buffers.newest
            self._steps.append(Step(trainer.current_epoch, batch_idx, self._batches, answer, kept))
            self._batches, self._unsound = [], None
        self.settle(trainer, most=0 if trainer.is_last_batch else self.lag or 0)
        # Here it is on the host: shown from the device, every step would wait.
        if self.loss is not None and self._shows(trainer, batch_idx):
            pl_module.log("loss", torch.tensor(self.loss), prog_bar=True, batch_size=1)

    def _shows(self, trainer: Trainer, batch_idx: int) -> bool:
        """Whether a logger or a progress bar takes the figures behind this batch."""
        logged = trainer.global_step % self.logged_every == 0 or trainer.should_stop
        return logged or trainer.is_last_batch or (batch_idx + 1) % SHOWN_EVERY == 0

    def settle(self, trainer: Trainer, *, most: int = 0) -> None:
        """Look at all steps but the newest `most`: before a checkpoint, at all."""
        while len(self._steps) > most:
            step = self._steps.popleft()
            unsound, self.loss = step.answer.read()
            if unsound:
                self._tell(trainer, step, loss=self.loss)
            else:
                self._in_a_row = 0

    def _tell(self, trainer: Trainer, step: Step, *, loss: float) -> None:
        self._buffers.restore(step.buffers)
        self._in_a_row += 1
        where = {"seed": self.seed, "epoch": step.epoch, "batch": step.batch_idx, "rank": trainer.global_rank}
        kept = self._save(step, loss=loss, where=where)
        names = ", ".join(name for batch in step.batches for name in batch["names"])
        found = (
            f"A NaN or infinite gradient in {', '.join(f'{key} {value}' for key, value in where.items())}, "
            f"loss {loss:.4g}, of {names}. The step was left out, so the weights are sound; {kept}."
        )
        if self.skip and self._in_a_row < MOST_IN_A_ROW:
            logger.warning(found)
            return
        row = f" It is the {self._in_a_row}th in a row." if self._in_a_row > 1 else ""
        raise NanError(
            f"{found}{row} Lower cfg.training.lr (cfg.downstream.lr), set cfg.trainer.gradient_clip_val, or "
            "leave such steps out with cfg.training.on_nan=skip; cfg.trainer.detect_anomaly=true finds the "
            "operation."
        )

    def _save(self, step: Step, *, loss: float, where: dict[str, int]) -> str:
        """Keep the batches for inspection, and say where."""
        if self._files >= MOST_FILES:
            return f"{MOST_FILES} such batches lie in {self.folder} already"
        self._files += 1
        name = f"nan_epoch_{step.epoch:03d}_batch_{step.batch_idx:05d}_rank_{where['rank']}.pt"
        batches = [_plain(batch) for batch in step.batches]
        try:
            write_atomically({**where, "loss": loss, "batches": batches}, self.folder / name)
        except OSError as error:  # what was found matters more
            return f"its batch could not be kept ({error})"
        return f"its batch is kept in {self.folder / name}"


def unsound(gradients: list[Tensor]) -> Tensor:
    """1.0 on the device if any number of the gradients is NaN or infinite, else 0.0: two launches for all."""
    found = torch.zeros((), device=gradients[0].device)
    unscaled = torch.ones((), device=gradients[0].device)
    torch._amp_foreach_non_finite_check_and_unscale_(gradients, found, unscaled)  # as a GradScaler looks
    return found


def scales_gradients(trainer: Trainer) -> bool:
    """Whether gradients are multiplied for fp16, and looked at by the scaler that does it."""
    plugin = trainer.precision_plugin
    return isinstance(plugin, MixedPrecision) and plugin.scaler is not None


def _worth_keeping(batch: Batch) -> Batch:
    """Tensors and names; what was prepared for the networks is large, and can be made again."""
    tensors = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
    return {**tensors, "names": list(batch["names"])}


def _plain(batch: Batch) -> Batch:
    """On the CPU: what a file can hold that nobody has to trust."""
    return {key: value.cpu() if isinstance(value, Tensor) else value for key, value in batch.items()}
