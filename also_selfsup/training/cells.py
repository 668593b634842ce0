"""Around fine-tuning: the cells of a comparison over label fractions, each a run with a folder of its own.

A cell is a head, a fraction, a start and a seed. `cell.json` says what it is made of, from its first moment;
`outcome.json` appears when it is finished, and is all that the tables need.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, tensor

from also_selfsup.settings.files import flat_values
from also_selfsup.settings.limits import SettingsError, check
from also_selfsup.settings.run import resolve_path
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.study import SCRATCH, Study, epochs_of, skip_ratio
from also_selfsup.settings.whole_file import whole_file

# Settings that do not change what comes out of a run.
INDIFFERENT = ("save_dir", "resume", "threads", "max_minutes", "dataset_root")
INDIFFERENT_GROUPS = ("logging.", "probes.", "training.", "checkpoint_")
# Epochs of a few labelled scans take a second: runs that all wrote theirs would wait for the disk.
CHECKPOINT_MINUTES = 1.0
# Weights that nobody has trained: where a probe of them is asked for, they have to be a file too.
UNTRAINED = "untrained.ckpt"


@dataclass(frozen=True)
class Cell:
    """One run of the comparison.

    Attributes:
        head: What learns, a name in `study.HEADS`.
        fraction: Of the labels.
        start: `scratch`, or the label of a file of weights.
        seed: Of the run.
        settings: All settings of the run.
        weights: SHA-256 of the file of weights; empty from scratch.
    """

    head: str
    fraction: float
    start: str
    seed: int
    settings: Settings
    weights: str

    @property
    def folder(self) -> Path:
        """Of its results."""
        return Path(self.settings.save_dir)

    def identity(self) -> dict[str, Any]:
        """What makes the outcome what it is, as JSON has it."""
        values = {
            f"cfg.{key}": value
            for key, value in flat_values(self.settings).items()
            if key not in INDIFFERENT and not key.startswith(INDIFFERENT_GROUPS)
        }
        del values["cfg.downstream.checkpoint_dir"]  # the weights themselves are what counts
        found: dict[str, Any] = json.loads(json.dumps({**values, "SHA-256 of the weights": self.weights}))
        return found


@dataclass(frozen=True)
class Outcome:
    """What came out of a cell, and what it cost.

    Attributes:
        head: As in `Cell`, like the next three.
        fraction: Of the labels.
        start: Label of the weights.
        seed: Of the run.
        class_names: C names, index 0 = "ignore".
        counts: (C, C) confusion matrix of the split at full resolution, rows labels.
        scans: Labelled scans of the fraction.
        epochs: Of the training.
        steps: Of the optimiser.
        train_seconds: Of all epochs, without what lies between them.
        score_seconds: Of scoring every point of the split.
        peak_gib: Most memory of the GPU while training; None on a CPU.
        device: Its name.
    """

    head: str
    fraction: float
    start: str
    seed: int
    class_names: list[str]
    counts: list[list[int]]
    scans: int
    epochs: int
    steps: int
    train_seconds: float
    score_seconds: float
    peak_gib: float | None
    device: str

    @property
    def matrix(self) -> Tensor:
        """The confusion matrix."""
        return tensor(self.counts)


def plan(settings: Settings, study: Study, *, epochs_given: int | None = None) -> list[Cell]:
    """All cells: first every fraction, head and start with the first seed, so that pairs are early complete.

    Args:
        settings: That the runs share.
        study: What is compared.
        epochs_given: cfg.downstream.max_epochs, where the command line has it.

    Raises:
        SettingsError: A file of weights is missing, or settings contradict one another.
    """
    if settings.num_device != 1:
        raise SettingsError(
            f"cfg.num_device={settings.num_device}: each run has one device here; parallel=n has n of them "
            "beside one another, on all GPUs."
        )
    hashes = {start: _sha256(start) for start in study.init}
    return [
        _cell(settings, study, (head, fraction, start, seed), digest=hashes[start], given=epochs_given)
        for seed in study.seed_list
        for fraction in study.fractions
        for head in study.heads
        for start in study.init
    ]


def study_folder(settings: Settings, study: Study) -> Path:
    """Where all results of a study lie."""
    return resolve_path(study.out or f"{settings.save_dir}/LabelEfficiency/{settings.name}")


def begin(cell: Cell) -> None:
    """Make the cell's folder and say in it what the cell is made of."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    _write(cell.folder / "cell.json", cell.identity())


def refuse_another(cell: Cell) -> None:
    """Check that what lies in the cell's folder, if anything, is of this very cell.

    Raises:
        SettingsError: It was made with other settings or weights; the message names the first.
    """
    path = cell.folder / "cell.json"
    if not path.is_file():
        return
    there, wanted = _read(path), cell.identity()
    for key in sorted({*there, *wanted}):
        if there.get(key) != wanted.get(key):
            raise SettingsError(
                f"{cell.folder}: made with {key}={there.get(key)}, now it is {wanted.get(key)}. "
                "Take another folder (out=), or delete this one."
            )


def save_outcome(cell: Cell, outcome: Outcome) -> None:
    """Write the outcome, all or nothing: the cell is finished then."""
    _write(cell.folder / "outcome.json", asdict(outcome))


def read_outcomes(cells: Sequence[Cell]) -> list[Outcome]:
    """The outcomes of those cells that are finished, in their order."""
    paths = [cell.folder / "outcome.json" for cell in cells]
    return [Outcome(**_read(path)) for path in paths if path.is_file()]


def is_finished(cell: Cell) -> bool:
    """Whether the cell's outcome is there."""
    return (cell.folder / "outcome.json").is_file()


def _cell(
    settings: Settings, study: Study, key: tuple[str, float, str, int], *, digest: str, given: int | None
) -> Cell:
    head, fraction, start, seed = key
    epochs, label = epochs_of(study, fraction, given=given), study.label(start)
    place = label.replace("/", "_").removesuffix(".ckpt") + (f"_{digest[:8]}" if digest else "")
    folder = study_folder(settings, study) / "cells" / head / f"{fraction:g}" / place / f"seed_{seed}"
    weights = resolve_path(start) if start != SCRATCH else folder / UNTRAINED if head != "finetune" else None
    stage = replace(
        settings.downstream,
        skip_ratio=skip_ratio(fraction),
        max_epochs=epochs,
        linear_probe=head != "finetune",
        probe_hidden=head == "mlp",
        checkpoint_dir=str(weights.parent) if weights else None,
        checkpoint_name=weights.name if weights else None,
    )
    # Every point is scored at the end: what validation says before takes long and is used for nothing, and a
    # page of each of dozens of runs costs seconds that the runs themselves do not take.
    limit = settings.trainer.limit_val_batches
    trainer = replace(settings.trainer, limit_val_batches=0 if limit is None else limit)
    run = replace(
        settings,
        seed=seed,
        downstream=stage,
        trainer=trainer,
        logging=replace(settings.logging, progress_bar=False, tensorboard=False, report=False),
        save_dir=str(folder),
        resume="auto",
        checkpoint_interval=settings.checkpoint_interval if settings.checkpoint_interval > 1 else epochs,
        checkpoint_minutes=settings.checkpoint_minutes or CHECKPOINT_MINUTES,
    )
    return Cell(head, fraction, label, seed, settings=check(run), weights=digest)


def _sha256(start: str) -> str:
    if start == SCRATCH:
        return ""
    path = resolve_path(start)
    if not path.is_file():
        raise SettingsError(f"init={start}: no such file (looked for {path}); convert_models.py writes it.")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{path}: not JSON ({error}); delete the folder, its cell runs again.") from error
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(content), encoding="utf-8")
