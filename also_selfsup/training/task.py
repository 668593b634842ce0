"""What both Lightning modules share: a step from batch to losses and scores, its randomness, its figures.

B scans of a batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torchmetrics import Metric

from also_selfsup.data.scan import Batch
from also_selfsup.losses.weighting import Share
from also_selfsup.settings.names import UserError
from also_selfsup.settings.schema import Settings
from also_selfsup.training.loss_means import LossMeans
from also_selfsup.transforms.pending import Steps, each_within
from also_selfsup.transforms.pipeline import PretrainingTransforms, SegmentationTransforms
from also_selfsup.transforms.randomness import seed_torch, step_generator

Stage = Literal["train", "val"]
# In a checkpoint: sums over the steps of its epoch, which may be unfinished.
EPOCH_SO_FAR = "epoch_so_far"


class TaskModule(LightningModule, ABC):
    """A task on batches of scans; subclasses say how fields are predicted, what is lost and what is scored.

    Every step draws from (seed, epoch, rank, step): a resumed run repeats what an unbroken one would do.

    Args:
        settings: Of the run.
        metrics: Makes the scores of a stage; `compute` gives a dictionary.
        bar: Names of the scores shown in the progress bar.

    Attributes:
        transforms: From a collated batch to the networks' input; set by the subclass.
    """

    transforms: PretrainingTransforms | SegmentationTransforms

    def __init__(self, settings: Settings, *, metrics: Callable[[], Metric], bar: tuple[str, ...]) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)  # the weights that the subclass makes next
        self.settings = settings
        self.train_metrics, self.val_metrics = metrics(), metrics()
        self.train_losses = LossMeans()
        self.bar = bar
        self.batch_sizes = ""  # of the last step, for messages

    @abstractmethod
    def predict(self, batch: Batch, generator: torch.Generator, *, training: bool) -> dict[str, Any]:
        """The batch's fields after its transforms, with the networks' results; `batch` may be prepared."""

    @abstractmethod
    def losses(self, fields: dict[str, Any], *, share: Share | None = None) -> dict[str, Tensor]:
        """Each loss by name, and `total`."""

    @abstractmethod
    def count(self, fields: dict[str, Any], metric: Metric) -> None:
        """Add the fields to the scores."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One optimiser step's loss.

        Raises:
            UserError: No scan of the batch has a point.
        """
        if batch["pos"].shape[0] == 0:
            skipped = f" The first one skipped: {batch['skipped'][0]}" if batch["skipped"] else ""
            names = ", ".join(batch["names"])
            raise UserError(f"No scan of this batch has a point left: {names}.{skipped}")
        return self._step(batch, batch_idx, stage="train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same without augmentation; the same random numbers in every epoch, so that epochs compare."""
        if batch["pos"].shape[0] > 0:
            self._step(batch, batch_idx, stage="val")

    def on_train_epoch_end(self) -> None:
        """Score the epoch."""
        self._score("train")
        for name, value in self.train_losses.compute().items():
            self.log(_loss_key("train", name), value, sync_dist=True)
        self.train_losses.reset()

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        self._score("val")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the settings with the weights, as plain values, so that a checkpoint explains itself."""
        checkpoint["settings"] = asdict(self.settings)
        checkpoint[EPOCH_SO_FAR] = {name: _summed(metric) for name, metric in self._epoch_figures().items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where the checkpoint stands within its epoch; the first process carries the sums."""
        found = checkpoint.get(EPOCH_SO_FAR, {}) if self.global_rank == 0 else {}
        for name, metric in self._epoch_figures().items():
            if isinstance(metric, LossMeans):
                metric.expect([state.removeprefix("sum/") for state in found.get(name, {}) if "/" in state])
            for state, value in found.get(name, {}).items():
                setattr(metric, state, value.to(metric.device))

    def generator(self, step: int, *, training: bool) -> torch.Generator:
        """The step's generator."""
        epoch = self.current_epoch + 1 if training else 0
        return step_generator(
            seed=self.settings.seed, epoch=epoch, rank=self.global_rank, step=step, device=self.device
        )

    @abstractmethod
    def prepare(self, batch: Batch, generator: torch.Generator) -> Steps[Batch]:
        """What is known of a transformed batch before the networks run; field `prepared` says it was done.

        A `PrefetchingLoader` does it ahead of the step, `predict` where it was not done; without gradients.
        """

    def prepared(self, batch: Batch, generator: torch.Generator) -> Steps[Batch]:
        """The same in the precision of the run."""
        return each_within(self.prepare(batch, generator), self.trainer.precision_plugin.forward_context)

    def transformed(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Batch:
        """The batch after its transforms; a prepared one is answered as it is."""
        return batch if "x" in batch else self.transforms(batch, generator, training=training)

    def share(self, terms: Tensor | int) -> Tensor | float:
        """Weight of this process's mean over `terms`, so that the processes' average is the mean over all.

        DDP averages gradients: unweighted, the result would depend on how scans fall to processes.
        """
        if self.trainer.world_size == 1:
            return 1.0
        mine = torch.as_tensor(terms, device=self.device, dtype=torch.float64)
        total = mine.clone()
        torch.distributed.all_reduce(total)  # the strategy's would have the host wait for all processes
        return (mine * self.trainer.world_size / torch.clamp(total, min=1)).to(self.dtype)

    def _step(self, batch: Batch, batch_idx: int, *, stage: Stage) -> Tensor:
        training = stage == "train"
        self.batch_sizes = f"{len(batch['names'])} scans of {batch['pos'].shape[0]} points in all"
        generator = batch.get("generator") or self.generator(batch_idx, training=training)
        if training:
            seed_torch(generator.initial_seed(), self.device)  # for dropout
        fields = self.predict(batch, generator, training=training)
        losses = self.losses(fields, share=self.share if training else None)
        self.count(fields, self._metrics(stage))
        scans = len(batch["names"])
        if training:
            self.train_losses.update(losses, scans=scans)
            return losses["total"]
        for name, value in losses.items():
            key = _loss_key(stage, name)
            self.log(key, value.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=scans)
        return losses["total"]

    def _epoch_figures(self) -> dict[str, Metric]:
        """What is counted over a training epoch."""
        return {"metrics": self.train_metrics, "losses": self.train_losses}

    def _score(self, stage: Stage) -> None:
        metric = self._metrics(stage)
        for name, value in metric.compute().items():
            self.log(f"{stage}/{name}", value.float(), prog_bar=name in self.bar, sync_dist=True)
        metric.reset()

    def _metrics(self, stage: Stage) -> Metric:
        return self.train_metrics if stage == "train" else self.val_metrics


def _loss_key(stage: Stage, name: str) -> str:
    return f"{stage}/loss" if name == "total" else f"{stage}/loss/{name}"


def _summed(metric: Metric) -> dict[str, Tensor]:
    """States of a metric, added up over the processes."""
    with metric.sync_context():
        states = {name: getattr(metric, name) for name in metric.metric_state}
        return {name: state.detach().cpu().clone() for name, state in states.items()}
