"""Beside the training loop: Python's garbage collector, kept from going through all imported code again.

Half a million objects live as long as the process: what torch, Lightning and Hydra import, settings, lists of
scans. Every thousand steps or so the collector looks at all of them, which takes the host as long as several
steps. In each step it looks at those of the step, which frees nothing: reference counts have done that.
"""

import gc

from pytorch_lightning import Callback, LightningModule, Trainer

# New objects after which the collector looks at them; Python's 700 are fewer than a step has at once.
NEW_OBJECTS = 10_000


class SparingCollector(Callback):
    """Sets aside what lives when training starts, until it ends; has new objects looked at more rarely.

    What each epoch leaves is collected before the next one.
    """

    def __init__(self) -> None:
        self._thresholds: tuple[int, int, int] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect what is garbage by now, and set the rest aside."""
        gc.collect()
        gc.freeze()
        self._thresholds = gc.get_threshold()
        gc.set_threshold(max(self._thresholds[0], NEW_OBJECTS), *self._thresholds[1:])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect what is new: a validation may have left rings of objects that hold memory of the GPU."""
        gc.collect()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the collector as it was: what the run made can be freed."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The same, whatever ended the run."""
        self._restore()

    def _restore(self) -> None:
        if self._thresholds is None:
            return
        gc.unfreeze()
        gc.set_threshold(*self._thresholds)
        self._thresholds = None
