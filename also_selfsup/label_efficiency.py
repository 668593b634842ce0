"""Compare starts over label fractions: `python label_efficiency.py cfg=nuscenes init=[scratch,PATH] seeds=3`.

The protocol of the paper's tables (CVPR 2023, section 4): fine-tune at each fraction from each start with
each seed, score every point of the validation split, tell mean, spread and gain. What is finished is never
run again, what was half done goes on: type the same command again.
"""

import argparse
import gc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from also_selfsup.checkpoints.convert import convert
from also_selfsup.checkpoints.writing import write_atomically
from also_selfsup.reporting.comparison import percent_miou
from also_selfsup.reporting.efficiency import groups_of, percent, score_table
from also_selfsup.reporting.efficiency_files import write_tables
from also_selfsup.settings.names import UserError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.study import HEADS, Study, read_study
from also_selfsup.settings.terminal import one_line_endings, set_up_terminal
from also_selfsup.train_downstream_semseg import finetune
from also_selfsup.training.building import network_of
from also_selfsup.training.cells import (
    UNTRAINED,
    Cell,
    Outcome,
    begin,
    is_finished,
    plan,
    read_outcomes,
    refuse_another,
    save_outcome,
    study_folder,
)
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.epoch_log import read_log
from also_selfsup.training.parallel import FirstSteps, run_all
from also_selfsup.training.runs import Run
from also_selfsup.training.scoring import score_weights, task_device

MAX_EPOCHS = "cfg.downstream.max_epochs="


@dataclass(frozen=True)
class Job:
    """A cell on its way to a worker process, and when everything has to end (seconds since 1970)."""

    cell: Cell
    end: float | None


def run_study(
    settings: Settings, study: Study, *, console: Console, epochs_given: int | None = None
) -> list[Outcome]:
    """Run what is not finished yet, within the time, and write the tables after every run.

    Args:
        settings: That the runs share.
        study: What is compared.
        console: To say what is going on.
        epochs_given: cfg.downstream.max_epochs, where the command line has it.

    Returns:
        The outcomes of all finished cells.

    Raises:
        UserError: Data, weights or settings are not right, or a folder holds another study; before any run.
    """
    cells = plan(settings, study, epochs_given=epochs_given)
    for cell in cells:
        refuse_another(cell)
    for cell in {cell.fraction: cell for cell in cells}.values():
        open_labelled(cell)
    left = [cell for cell in cells if not is_finished(cell)]
    console.print(f"{len(cells)} runs, {len(cells) - len(left)} finished before.")
    write = table_writer(settings, study, cells, console=console)
    end = None if study.minutes is None else time.time() + 60 * study.minutes
    jobs = [Job(cell, end) for cell in left]
    run_all(run_cell, jobs, title="runs", console=console, workers=study.parallel, on_result=write)
    if outcomes := read_outcomes(cells):
        show(outcomes, write(None), console=console)
    if missing := len(cells) - len(outcomes):
        console.print(f"{missing} of {len(cells)} runs are left: type the same command again to go on.")
    return outcomes


def run_cell(job: Job) -> Outcome | None:
    """Fine-tune, or go on with it, and score; None where the time is over before it is done."""
    minutes = None if job.end is None else (job.end - time.time()) / 60
    if minutes is not None and minutes <= 0:
        return None
    cell, settings = job.cell, job.cell.settings
    logging.getLogger("also_selfsup").setLevel(logging.WARNING)  # of dozens of runs, a bar says enough
    begin(cell)
    device = task_device(settings)
    if settings.downstream.checkpoint_name == UNTRAINED:
        write_untrained(cell)
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()  # what the run before held is not this one's
        torch.cuda.reset_peak_memory_stats()
    run = finetune(replace(settings, max_minutes=minutes), quiet=True, more=[FirstSteps()])
    rows = read_log(run.folder / "logs_train.csv")
    if not is_trained(rows, settings):
        return None
    begun = time.perf_counter()
    model = convert(run.last, downstream=True)[0].path
    matrix, class_names = score_weights(settings, model, split=settings.downstream.val_split)
    peaks = [float(row["peak_memory_gib"]) for row in rows if row.get("peak_memory_gib")]
    outcome = Outcome(
        **{name: getattr(cell, name) for name in ("head", "fraction", "start", "seed")},
        class_names=list(class_names),
        counts=matrix.tolist(),
        scans=open_labelled(cell),
        epochs=int(rows[-1]["epoch"]) + 1,
        steps=int(rows[-1]["step"]),
        train_seconds=sum(float(row["seconds"]) for row in rows),
        score_seconds=time.perf_counter() - begun,
        peak_gib=max(peaks, default=None),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
    )
    save_outcome(cell, outcome)
    tidy(run)
    return outcome


def open_labelled(cell: Cell) -> int:
    """Open the labelled scans of a cell, and count them."""
    stage = cell.settings.downstream
    return len(open_dataset(cell.settings, stage.train_split, labels=True, skip_ratio=stage.skip_ratio))


def is_trained(rows: Sequence[dict[str, str]], settings: Settings) -> bool:
    """Whether a run with these rows of its log has had all its epochs, or steps."""
    most = settings.trainer.max_steps
    if not rows:
        return False
    return int(rows[-1]["epoch"]) + 1 >= settings.downstream.max_epochs or 0 < most <= int(rows[-1]["step"])


def write_untrained(cell: Cell) -> None:
    """Write the weights that nobody has trained, which a probe from scratch starts from, by the seed."""
    torch.manual_seed(cell.seed)
    net = network_of(cell.settings, out_channels=cell.settings.network.latent_size)
    write_atomically({"state_dict": net.state_dict()}, cell.folder / UNTRAINED)


def tidy(run: Run) -> None:
    """Remove what only training needed; the weights that were scored stay."""
    for path in run.folder.glob("*.ckpt"):
        if not path.name.startswith("trained_model_"):
            path.unlink()


def table_writer(
    settings: Settings, study: Study, cells: Sequence[Cell], *, console: Console
) -> Callable[[Outcome | None], list[Path]]:
    """A function that says what one run came to, and writes the tables of all that are finished by now."""
    title = f"{settings.name}, {settings.dataset_name} {settings.downstream.val_split}"
    folder = study_folder(settings, study)

    def write(new: Outcome | None) -> list[Path]:
        outcomes = read_outcomes(cells)
        if new is not None:
            score, seconds = percent_miou([new.matrix])[0], new.train_seconds + new.score_seconds
            console.print(
                f"{len(outcomes)} of {len(cells)}: {new.head}, {percent(new.fraction)}, {new.start}, "
                f"seed {new.seed}: mIoU {score:.1f} %, {seconds:.0f} s"
            )
        return write_tables(folder, outcomes, title=title, planned=len(cells)) if outcomes else []

    return write


def show(outcomes: Sequence[Outcome], files: Sequence[Path], *, console: Console) -> None:
    """Print the tables of mean IoU, and where everything lies."""
    groups = groups_of(outcomes)
    for head in dict.fromkeys(group.head for group in groups):
        header, *rows = score_table([group for group in groups if group.head == head])
        table = Table(title=f"mIoU %, mean ± spread: {HEADS[head]}")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for path in files:
        console.print(f"Written: {path}", soft_wrap=True)


def parse(arguments: Sequence[str] | None = None) -> list[str]:
    """Read the command line."""
    words = "\n".join(f"  {item.name}=…  {item.metadata['doc']}" for item in fields(Study))
    parser = argparse.ArgumentParser(
        prog="label_efficiency.py",
        description=__doc__,
        epilog=f"words:\n  cfg=RECIPE, cfg.key=value  settings of all runs\n{words}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="KEY=VALUE")
    found: list[str] = parser.parse_args(arguments).words
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the command line; what a user can mend ends in one line."""
    words = parse(arguments)
    set_up_terminal()
    console = Console(highlight=False, markup=False)
    with one_line_endings():
        study, overrides = read_study(words)
        recipes = [word.removeprefix("cfg=") for word in overrides if word.startswith("cfg=")]
        if len(recipes) != 1:
            raise UserError(f"Say cfg=RECIPE, once; found {', '.join(recipes) or 'none'}.")
        settings = load(recipes[0], [word for word in overrides if not word.startswith("cfg=")])
        given = any(word.startswith(MAX_EPOCHS) for word in overrides)
        epochs_given = settings.downstream.max_epochs if given else None
        run_study(settings, study, console=console, epochs_given=epochs_given)


if __name__ == "__main__":
    main()
