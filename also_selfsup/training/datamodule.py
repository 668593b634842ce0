"""From files to batches: data sets and loaders of one task. Workers only read, all else comes later."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from also_selfsup.data import DATASETS
from also_selfsup.data.base import LidarDataset
from also_selfsup.data.packing import collate_packed
from also_selfsup.data.quiet_loader import QuietLoader
from also_selfsup.data.scan import Batch, Scan, collate
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.names import choose
from also_selfsup.settings.run import resolve_path
from also_selfsup.settings.schema import Data, Settings
from also_selfsup.training.position import (
    EpochSampler,
    Position,
    end_loader_processes_at_exit,
    epochs_done,
    ignore_sigterm,
)
from also_selfsup.training.prefetch import PrefetchingLoader
from also_selfsup.training.task import TaskModule


class LidarDataModule(LightningDataModule):
    """Training and validation loaders.

    Args:
        settings: Of the run.
        labels: Read labels and use the `downstream` splits and batch size; without, no label file is opened.
    """

    def __init__(self, settings: Settings, *, labels: bool) -> None:
        super().__init__()
        self.settings = settings
        self.labels = labels
        stage = settings.downstream if labels else settings.training
        self.batch_size = stage.batch_size
        splits = settings.downstream if labels else settings
        skip_ratio = settings.downstream.skip_ratio if labels else settings.data.skip_ratio
        self.train_set = open_dataset(settings, splits.train_split, labels=labels, skip_ratio=skip_ratio)
        self.val_set = open_dataset(settings, splits.val_split, labels=labels)
        # Pre-training may look at a part of its validation split; scores are those of the whole split.
        some = slice(None) if labels else slice(None, settings.data.val_frames)
        stride = 1 if labels else settings.data.val_stride
        self.val_indices = range(0, len(self.val_set), stride)[some]
        self.position: Position | None = None  # within an epoch, where a resumed run goes on

    def state_dict(self) -> dict[str, Any]:
        """Where in its epoch the run stands, for a checkpoint."""
        if self.trainer is None:
            return {}
        return asdict(Position.of_run(self.trainer, self._setup(self.trainer.world_size)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint stands: the batches of its epoch that are done are not read again."""
        self.position = Position(**state_dict)

    def train_dataloader(self) -> DataLoader[Scan] | PrefetchingLoader:
        """Shuffled by (seed, epoch), which Lightning tells the sampler: a resumed run sees the same order."""
        world, rank = self._processes()
        sampler = EpochSampler(self.train_set, world=world, rank=rank, seed=self.settings.seed)
        if self.position is not None:
            self.position.check_fit(self._setup(world))
            sampler.start(self.position.epoch, batches=self.position.batches, batch_size=self.batch_size)
        if self.trainer is not None:  # Lightning tells the epoch only after the loader's processes have begun
            sampler.set_epoch(epochs_done(self.trainer))
        return self._loader(self.train_set, sampler, training=True)

    def val_dataloader(self) -> DataLoader[Scan] | PrefetchingLoader:
        """Each scan once, none repeated to fill up: the processes' metrics are joined exactly."""
        world, rank = self._processes()
        return self._loader(self.val_set, self.val_indices[rank::world], training=False)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch, unless it came prepared."""
        if "generator" in batch:
            return batch
        moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved

    def _loader(
        self, dataset: LidarDataset, sampler: Sampler[Any] | Iterable[int], *, training: bool
    ) -> DataLoader[Scan] | PrefetchingLoader:
        """On a GPU the module's batches come prepared; on a CPU, as collated."""
        module = self.trainer.lightning_module if self.trainer else None
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        end_loader_processes_at_exit()
        ahead = isinstance(module, TaskModule) and prepares_ahead(device)
        loader: DataLoader[Scan] = DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.settings.threads,
            persistent_workers=self.settings.threads > 0,
            collate_fn=collate_packed if ahead else collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=ignore_sigterm,
        )
        if not isinstance(module, TaskModule) or not ahead:
            return loader
        return PrefetchingLoader(
            loader,
            device=device,
            generator=partial(module.generator, training=training),
            begin=partial(module.transforms.begin, training=training),
            further=(module.prepared,),
            first_step=sampler.first_batch if isinstance(sampler, EpochSampler) else None,
        )

    def _setup(self, world: int) -> dict[str, int]:
        """What the batches of an epoch depend on besides the seed."""
        return {"batch_size": self.batch_size, "processes": world, "scans": len(self.train_set)}

    def _processes(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)


def prepares_ahead(device: torch.device) -> bool:
    """Whether batches are prepared beside the step: not on a CPU, where nothing runs beside it."""
    return device.type != "cpu"


def open_dataset(
    settings: Settings, split: str, *, labels: bool, skip_ratio: int = 1, every_point: bool = False
) -> LidarDataset:
    """The data set of the recipe, one split of it; `every_point` leaves out none, however near the sensor.

    Raises:
        ValueError: Unknown data set or split.
        FileNotFoundError: The root or its tables are not there.
    """
    kind = choose(DATASETS, settings.dataset_name, "cfg.dataset_name")
    if every_point:
        kind.classes()  # what is to be evaluated, labelled or not, must have classes
    return kind(
        resolve_path(settings.dataset_root),
        split,
        labels=labels,
        skip_ratio=skip_ratio,
        on_bad_scan=settings.data.on_bad_scan,
        min_range=0.0 if every_point else settings.data.min_range,
        **options_of(kind, replace(settings.data, query_frames=0) if every_point else settings.data),
    )


def options_of(kind: type[LidarDataset], data: Data) -> dict[str, Any]:
    """The settings of cfg.data that only some data sets take, those of one kind.

    Raises:
        SettingsError: One is set that this kind does not take.
    """
    known = {name for other in DATASETS.values() for name in other.options}
    for name in sorted(known - set(kind.options)):
        if (value := getattr(data, name)) != getattr(Data(), name):
            takers = ", ".join(other for other in DATASETS if name in DATASETS[other].options)
            raise SettingsError(
                f"cfg.data.{name}={value}: {kind.__name__} does not take it; {takers} would. Leave it out."
            )
    return {name: getattr(data, name) for name in kind.options}


def whole_split_loader(
    settings: Settings, split: str, *, labels: bool
) -> tuple[DataLoader[Scan], LidarDataset]:
    """Every point of every scan of a split, in order, for evaluation; and the data set behind the loader."""
    dataset = open_dataset(settings, split, labels=labels, every_point=True)
    loader = QuietLoader(
        dataset,
        batch_size=settings.downstream.batch_size,
        num_workers=settings.threads,
        collate_fn=collate,
    )
    return loader, dataset
