"""Before a long run: the files of a recipe's splits are read, in parallel, and what they hold is added up.

F frames of a split, C classes.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.examination import Examination, Examined
from also_selfsup.data.quiet_loader import QuietLoader
from also_selfsup.settings.names import UserError, message
from also_selfsup.settings.progress import progress_bar
from also_selfsup.settings.schema import Settings
from also_selfsup.training.datamodule import open_dataset


@dataclass
class Split:
    """A split and what was found in it.

    Attributes:
        name: Such as "train".
        role: "training" or "validation".
        dataset: The split; None where it cannot be opened.
        error: Why it cannot be opened.
        warnings: What the data set logged when it was opened.
        examined: The scans that were read, in order.
        seconds: That all of it took, on the wall.
    """

    name: str
    role: str
    dataset: LidarDataset | None = None
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    examined: list[Examined] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> list[Examined]:
        """Those that could be read."""
        return [scan for scan in self.examined if not scan.finding]

    @property
    def files(self) -> set[bytes]:
        """Names of all frames, read or not."""
        return set(self.dataset.files.tolist()) if self.dataset is not None else set()


def open_splits(settings: Settings) -> list[Split]:
    """Open the splits that a run of these settings reads: for fine-tuning with labels, else pre-training.

    Raises:
        UserError: None of them can be opened.
    """
    labels, stage = settings.inspect.labels, settings.downstream
    names = (stage.train_split, stage.val_split) if labels else (settings.train_split, settings.val_split)
    ratio = stage.skip_ratio if labels else settings.data.skip_ratio
    # A bad file is no reason to look at no other one.
    settings = replace(settings, data=replace(settings.data, on_bad_scan="skip"))
    splits = [Split(names[0], "training"), Split(names[1], "validation")]
    for split, skip_ratio in zip(splits, (ratio, 1), strict=True):
        with collect_warnings(split.warnings):
            try:
                split.dataset = open_dataset(settings, split.name, labels=labels, skip_ratio=skip_ratio)
            except UserError as error:
                if split is splits[-1] and splits[0].error:
                    raise
                split.error = message(error)
    return splits


def examine(split: Split, settings: Settings, *, console: Console) -> None:
    """Read a split, or `cfg.inspect.max_scans` of it, in `cfg.threads` processes, with a bar."""
    if split.dataset is None:
        return
    indices = spread_evenly(len(split.dataset), settings.inspect.max_scans)
    loader = QuietLoader(
        Examination(split.dataset, extent=settings.network.extent),
        batch_size=None,
        sampler=indices,
        num_workers=min(settings.threads, len(indices)),
        collate_fn=_as_it_is,
    )
    bar = progress_bar(console, unit="scans", disable=not settings.logging.progress_bar)
    with bar:
        task = bar.add_task(f"reading {split.name}", total=len(indices))
        for scan in loader:
            split.examined.append(scan)
            bar.advance(task)
    split.seconds = bar.tasks[0].elapsed or 0.0


def spread_evenly(count: int, most: int | None) -> list[int]:
    """At most `most` of `count` indices, from the first to the last."""
    if most is None or most >= count:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most).tolist()]


@contextmanager
def collect_warnings(found: list[str]) -> Iterator[None]:
    """Add what the readers of data sets warn of to a list; it is logged all the same."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler, logger = Collector(logging.WARNING), logging.getLogger("also_selfsup.data")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def total(scans: Sequence[Examined], attribute: str) -> "np.typing.NDArray[np.int64] | None":
    """Sum of a histogram over scans; None where there is none."""
    parts = [counts for scan in scans if (counts := getattr(scan, attribute)) is not None]
    return np.sum(parts, axis=0) if parts else None


def _as_it_is(scan: Any) -> Any:
    return scan
