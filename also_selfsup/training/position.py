"""Before the first batch of a resumed run: which scans of its epoch are still to come.

The order of scans depends on (seed, epoch) alone, so a number of batches says where in an epoch a run stands.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from functools import cache
from itertools import islice
from multiprocessing.util import Finalize
from typing import Any, cast

from pytorch_lightning import Trainer
from pytorch_lightning.loops.progress import _ProcessedTracker
from torch.utils.data import DistributedSampler

from also_selfsup.settings.limits import SettingsError


class EpochSampler(DistributedSampler[Any]):
    """Scans of a process in the order of (seed, epoch); one epoch may start where a former run left it.

    Args:
        data: Of so many scans.
        world: Processes.
        rank: This one.
        seed: Of the run.
    """

    def __init__(self, data: Sized, *, world: int, rank: int, seed: int) -> None:
        super().__init__(data, num_replicas=world, rank=rank, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self._epoch_begun, self._batches, self._batch_size = -1, 0, 1

    def start(self, epoch: int, *, batches: int, batch_size: int) -> None:
        """Leave out the first batches of an epoch; all others remain whole."""
        self._epoch_begun, self._batches, self._batch_size = epoch, batches, batch_size

    def first_batch(self) -> int:
        """Number of the first batch of the epoch that `set_epoch` named."""
        return self._batches if self.epoch == self._epoch_begun else 0

    def __iter__(self) -> Iterator[int]:
        """Indices of the epoch that `set_epoch` named."""
        return islice(super().__iter__(), self.first_batch() * self._batch_size, None)


@dataclass(frozen=True)
class Position:
    """How far a run is in an epoch, and what its batches were made of.

    Attributes:
        epoch: Counted from 0.
        batches: Of this epoch that each process has trained on.
        of: Batches that the epoch has.
        batch_size: Scans a batch and process.
        processes: That share the scans.
        scans: Of the split.
    """

    epoch: int
    batches: int
    of: int
    batch_size: int
    processes: int
    scans: int

    @classmethod
    def of_run(cls, trainer: Trainer, setup: dict[str, int]) -> "Position":
        """Where a trainer stands: after the last batch whose step was made."""
        batches, of = batches_done(trainer), int(trainer.num_training_batches)
        return cls(epoch=trainer.current_epoch, batches=batches, of=of, **setup)

    def check_fit(self, setup: dict[str, int]) -> None:
        """Refuse to go on within an epoch whose batches would be others than the ones counted.

        Raises:
            SettingsError: The batch size, the number of processes or the split has changed.
        """
        if not 0 < self.batches < self.of:
            return
        for name, now in setup.items():
            if (then := getattr(self, name)) != now:
                raise SettingsError(
                    f"cfg.resume: the checkpoint stands after batch {self.batches} of {self.of} of epoch "
                    f"{self.epoch}, with {NAMES[name]} {then}; now it is {now}, so the batches to come would "
                    "be others. Finish the epoch as it was begun, or resume from best.ckpt."
                )


NAMES = {
    "batch_size": "the batch size",
    "processes": "the number of processes (cfg.num_device)",
    "scans": "the number of training scans",
}


def batches_done(trainer: Trainer) -> int:
    """Batches of the epoch whose step was made, in this process."""
    return cast(_ProcessedTracker, trainer.fit_loop.epoch_loop.batch_progress.current).processed


def epochs_done(trainer: Trainer) -> int:
    """Epochs that are finished: the number of the one to come, or at work."""
    return cast(_ProcessedTracker, trainer.fit_loop.epoch_progress.current).processed


def ignore_sigterm(worker: int) -> None:
    """Let a loader process outlive a SIGTERM to the whole job: the training process ends it, after its step.

    Job managers send the signal to every process at once; a step would else fail for want of its batch. A
    worker whose training process is gone ends by itself.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def end_loader_processes_at_exit() -> None:
    """Have loader processes that are left when this one exits ended by SIGKILL, as they ignore SIGTERM.

    Python would send them that and wait for ever. They only read: there is nothing to lose.
    """
    _register_end(os.getpid())


@cache
def _register_end(process: int) -> None:
    Finalize(None, _kill_loader_processes, exitpriority=10)  # before Python's own end of its children


def _kill_loader_processes() -> None:
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
