"""Beside pre-training: every few epochs, how well frozen features tell labelled points apart.

The labels serve these scores alone. Scans are of a split that the network does not train on: its first half
is learnt from, its second half scored. All is bounded (cfg.probes), done by the first process, and draws from
generators of its own: the losses of a run are the same with and without.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.scan import Batch, Scan, collate
from also_selfsup.evaluation.confusion import labelled, mean_iou
from also_selfsup.evaluation.iou import count_pairs
from also_selfsup.evaluation.probing import labelled_features, linear_classes, nearest_classes
from also_selfsup.networks.backbone import Backbone
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.schema import Settings
from also_selfsup.training.building import segmentation_transforms
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.epoch_log import read_log, write_log
from also_selfsup.training.pretraining import PretrainingModule

logger = logging.getLogger(__name__)

LOG = "logs_probe.csv"


def probe_callbacks(settings: Settings, folder: Path) -> list[Callback]:
    """The probes that the settings ask for: none where cfg.probes.interval is 0; no label is opened then.

    Raises:
        UserError: The split is unknown, has no labels or too few scans.
    """
    if settings.probes.interval == 0:
        return []
    split = settings.probes.split or settings.val_split
    dataset = open_dataset(settings, split, labels=True)
    if len(dataset) < 2:
        raise SettingsError(
            f"cfg.probes.split={split}: {len(dataset)} scans; probes need two, to learn and to be scored."
        )
    return [FeatureProbes(settings, folder, dataset=dataset)]


class FeatureProbes(Callback):
    """Scores k-NN and linear classification of frozen features; a row each time in logs_probe.csv.

    Args:
        settings: Of the run.
        folder: Of its results.
        dataset: The labelled scans.
    """

    def __init__(self, settings: Settings, folder: Path, *, dataset: LidarDataset) -> None:
        self.settings, self.path, self.dataset = settings, folder / LOG, dataset
        self.transforms = segmentation_transforms(settings)
        self.scans: list[list[Scan]] = []  # of both halves; read when they are first needed, then kept

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the network as it is before the first step: what later scores are to be held against."""
        if trainer.global_step == 0:
            self._probe(trainer, pl_module, finished=0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score after every so many epochs."""
        finished = trainer.current_epoch + 1
        if finished % self.settings.probes.interval == 0:
            self._probe(trainer, pl_module, finished=finished)

    def _probe(self, trainer: Trainer, module: LightningModule, *, finished: int) -> None:
        assert isinstance(module, PretrainingModule) and isinstance(module.backbone, Backbone)
        if not trainer.is_global_zero:
            return
        begun, was_training = time.perf_counter(), module.backbone.training
        module.backbone.eval()
        with trainer.precision_plugin.forward_context():
            known, scored = (self._features(module.backbone, scans) for scans in self._halves())
        module.backbone.train(was_training)
        scores = self._scores(known, scored) | {"seconds": time.perf_counter() - begun}
        for one in trainer.loggers:
            one.log_metrics({f"probe/{name}": value for name, value in scores.items()}, trainer.global_step)
        row = {"finished_epochs": finished, "step": trainer.global_step, **scores}
        write_log(
            self.path, [old for old in read_log(self.path) if int(old["finished_epochs"]) < finished] + [row]
        )
        logger.info(
            "probes after %d epochs: mIoU %.1f %% by k-NN, %.1f %% by a linear classifier (%.1f s)",
            *(finished, 100 * scores["knn_miou"], 100 * scores["linear_miou"], scores["seconds"]),
        )

    def _halves(self) -> list[list[Scan]]:
        if not self.scans:
            for rows in halves(len(self.dataset), most=self.settings.probes.scans):
                self.scans.append([scan for scan in map(self.dataset.__getitem__, rows) if len(scan.pos)])
        return self.scans

    def _features(self, backbone: Backbone, scans: Sequence[Scan]) -> tuple[Tensor, Tensor]:
        if not any(scan.labels is not None and scan.labels.any() for scan in scans):
            raise SettingsError(
                f"cfg.probes: none of {len(scans)} scans of {self.dataset.split} has a labelled point: "
                "choose another cfg.probes.split, or set cfg.probes.interval=0."
            )
        return labelled_features(
            backbone,
            self.transforms,
            batches=_batches(scans, size=self.settings.training.batch_size),
            points=self.settings.probes.points,
            seed=self.settings.seed,
        )

    def _scores(self, known: tuple[Tensor, Tensor], scored: tuple[Tensor, Tensor]) -> dict[str, float]:
        count = len(self.dataset.class_names)
        answers = {
            "knn_miou": nearest_classes(
                scored[0],
                known[0],
                known_classes=known[1],
                class_count=count,
                neighbours=self.settings.probes.neighbours,
            ),
            "linear_miou": linear_classes(scored[0], known[0], known_classes=known[1], class_count=count),
        }
        matrices = {name: count_pairs(scored[1], found, class_count=count) for name, found in answers.items()}
        return {name: float(mean_iou(labelled(matrix))) for name, matrix in matrices.items()}


def halves(count: int, *, most: int) -> list[list[int]]:
    """Rows of the two halves of a split, at most so many of each, evenly spread.

    Frames of a drive resemble one another: halves, not every second frame, keep drives apart.
    """
    middle = count // 2
    return [_spread(0, middle, most=most), _spread(middle, count, most=most)]


def _spread(first: int, end: int, *, most: int) -> list[int]:
    taken = min(most, end - first)
    return [first + (end - first) * number // taken for number in range(taken)]


def _batches(scans: Sequence[Scan], *, size: int) -> Iterator[Batch]:
    return (collate(scans[start : start + size]) for start in range(0, len(scans), size))
