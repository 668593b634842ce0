"""While a run is drawn: the sections of its page that need no picture, from settings, logs and files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from also_selfsup.checkpoints.next_command import convert_command
from also_selfsup.checkpoints.same_settings import inspect_command, recipe_and_changes, resume_command
from also_selfsup.data.skip_log import SkipLog
from also_selfsup.reporting.machine import peak_memory_gib
from also_selfsup.reporting.report import Commands, Listing, Section, Table, Text
from also_selfsup.settings.schema import Settings
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.epoch_log import read_log
from also_selfsup.training.runs import BEST, Run


@dataclass(frozen=True)
class State:
    """How far a run has come.

    Attributes:
        epoch: Epochs that are done.
        epochs: All of them.
        ended: How it ended, as a clause; empty while it goes on.
    """

    epoch: int
    epochs: int
    ended: str = ""

    def sentence(self) -> str:
        """For below the title."""
        now = time.strftime("%Y-%m-%d %H:%M")
        how = self.ended or "the run was going on when this page was written"
        return f"{self.epoch} of {self.epochs} epochs done; {how} ({now})."


def result(folder: Path, score: tuple[str, str]) -> Text:
    """One sentence: the best and the last score on the validation scans.

    Args:
        folder: Of the run.
        score: Column of the validation log, and its name in words.
    """
    column, words = score
    rows = [row for row in read_log(folder / "logs_val.csv") if row.get(column, "nan") not in ("", "nan")]
    if not rows:
        return Text("No validation has been scored yet.", emphasis=True)
    best, last = max(rows, key=lambda row: float(row[column])), rows[-1]
    said = f"{words} on the validation scans: {100 * float(last[column]):.1f} % after epoch "
    said += f"{int(last['epoch']) + 1}"
    if best is last:
        return Text(f"{said}, the best so far.", emphasis=True)
    if best[column] == last[column]:  # Lightning keeps the checkpoint of the first
        return Text(
            f"{said}, as good as the best; {BEST} is of epoch {int(best['epoch']) + 1}.", emphasis=True
        )
    return Text(
        f"{said}; the best was {100 * float(best[column]):.1f} % after epoch {int(best['epoch']) + 1}.",
        emphasis=True,
    )


def speed_table(folder: Path, *, drawing: Sequence[float]) -> Table:
    """Rates and memory over all epochs in the log, and what drawing took at this process's validations."""
    log = read_log(folder / "logs_train.csv")
    rates = [float(row["scans_per_second"]) for row in log if row.get("scans_per_second")]
    peaks = [float(row["peak_memory_gib"]) for row in log if row.get("peak_memory_gib")]
    rows = []
    if rates:
        rows.append(["scans a second, all processes, mean of the epochs", f"{sum(rates) / len(rates):.1f}"])
        rows.append(["the same, last epoch", f"{rates[-1]:.1f}"])
    if peaks:
        rows.append(["peak memory of the GPU (GiB)", f"{max(peaks):.2f}"])
    rows.append(["peak memory of the main process, without loaders (GiB)", f"{peak_memory_gib():.2f}"])
    if drawing:
        rows.append(["drawing at the last validation (s)", f"{drawing[-1]:.1f}"])
        rows.append(["drawing in all, since the start or resumption (s)", f"{sum(drawing):.1f}"])
    return Table(
        ["what", "value"], rows, "Throughput and memory, of this process where nothing else is said."
    )


def data_table(data: LidarDataModule, skipped: SkipLog | None) -> Table:
    """Which scans the run sees."""
    settings, train, val = data.settings, data.train_set, data.val_set
    rows = {
        "data set": f"{settings.dataset_name} in {settings.dataset_root}",
        "scans to train on": f"{len(train)} of the split {train.split}",
        "scans to validate on": f"{len(data.val_indices)} of the {len(val)} of the split {val.split}",
        "share of the labels" if data.labels else "share of the split": f"1 / {train.skip_ratio}",
        "input points of a scan": f"at most {settings.manifold_points}, one a cell of "
        f"{settings.transforms.grid_size:g} m",
        "bad scans skipped so far": str(skipped.count if skipped else 0),
    }
    return Table(["what", "value"], [list(row) for row in rows.items()], "What the run reads.")


def commands(script: str, settings: Settings, run: Run, *, state: State, labels: bool) -> list[str]:
    """What to type next, from the root of the checkout."""
    lines = []
    if state.epoch < state.epochs and run.last.is_file():
        lines += ["# go on where the run stopped", resume_command(script, settings, run.last)]
    lines += ["# turn the last checkpoint into plain weights; it says what comes after that"]
    lines += [convert_command(run.last, downstream=labels)]
    lines += ["# look at every file of the data set"]
    return [*lines, inspect_command(settings, labels=labels)]


def closing_sections(
    script: str,
    data: LidarDataModule,
    run: Run,
    *,
    state: State,
    speed: Table,
    versions: Sequence[Sequence[str]],
    skipped: SkipLog | None,
) -> list[Section]:
    """What stands behind the pictures: figures, data, the next commands, settings, versions."""
    settings = data.settings
    name, changes = recipe_and_changes(settings)
    words = f"Recipe {name} with {len(changes)} settings changed." if changes else f"Recipe {name} as it is."
    return [
        Section("Throughput and memory", [speed]),
        Section("Data", [data_table(data, skipped)]),
        Section("What to run next", [
            Text("Type these from the root of the checkout."),
            Commands(commands(script, settings, run, state=state, labels=data.labels)),
        ]),
        Section("Settings", [
            Text(words),
            *([Commands(changes)] if changes else []),
            Listing("All settings (config.yaml)", (run.folder / "config.yaml").read_text("utf-8")),
        ]),
        Section("Versions", [Table(["what", "version"], versions, "What the run was made with.")]),
    ]  # fmt: skip
