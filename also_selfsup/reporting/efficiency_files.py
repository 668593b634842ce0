"""After a comparison over label fractions: its tables as Markdown and CSV, and the picture."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from also_selfsup.reporting.curves import STYLES
from also_selfsup.reporting.efficiency import (
    Group,
    cell_rows,
    class_table,
    cost_table,
    groups_of,
    percent,
    score_table,
    summary_rows,
)
from also_selfsup.reporting.pictures import save
from also_selfsup.settings.study import HEADS, SCRATCH
from also_selfsup.training.cells import Outcome
from also_selfsup.training.epoch_log import write_log

NAME = "label_efficiency"


def write_tables(folder: Path, outcomes: Sequence[Outcome], *, title: str, planned: int) -> list[Path]:
    """Write tables and picture of the finished runs; earlier ones are replaced.

    Args:
        folder: To write to; made where it is missing.
        outcomes: At least one.
        title: Of the page: data, split.
        planned: How many runs there will be.

    Returns:
        The files: Markdown, two CSV (groups, runs), PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = groups_of(outcomes)
    page = folder / f"{NAME}.md"
    page.write_text(_page(groups, title=title, done=len(outcomes), planned=planned), encoding="utf-8")
    tables = {f"{NAME}.csv": summary_rows(groups), f"{NAME}_runs.csv": cell_rows(outcomes)}
    for name, rows in tables.items():
        write_log(folder / name, rows)
    picture = efficiency_picture(groups, folder / f"{NAME}.png")
    return [page, *(folder / name for name in tables), picture]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A header and rows as a Markdown table, columns behind the first set to the right."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|---|{'---:|' * (len(rows[0]) - 1)}", *body])


def efficiency_picture(groups: Sequence[Group], path: Path) -> Path:
    """Draw mean IoU, and the gain over scratch, by label fraction: mean, spread, and each seed as a dot.

    Args:
        groups: At least one.
        path: PNG to write; its folder is made.

    Returns:
        The path written.
    """
    figure = Figure(figsize=(10.4, 4.0), layout="constrained")
    scores, gains = figure.subplots(1, 2)
    lines = list(dict.fromkeys((group.head, group.start) for group in groups))
    for (head, start), look in zip(lines, cycle(STYLES), strict=False):
        line = [group for group in groups if (group.head, group.start) == (head, start)]
        name = f"{start}, {head}" if len({key[0] for key in lines}) > 1 else start
        _draw_line(scores, [(g.fraction, g.scores) for g in line], name=name, look=look)
        if start != SCRATCH:
            _draw_line(gains, [(g.fraction, g.gains) for g in line], name=name, look=look)
    gains.axhline(0, color="#5b6670", linewidth=1)
    fractions = sorted({group.fraction for group in groups})
    for axes, title, unit in (
        (scores, "Every point of the split", "mean IoU (%)"),
        (gains, "Gain over scratch, pairs of one seed", "points of mean IoU"),
    ):
        _finish(axes, fractions, title=title, unit=unit)
    return save(figure, path)


def _draw_line(
    axes: Axes, points: Sequence[tuple[float, Sequence[float]]], *, name: str, look: tuple[str, str, str]
) -> None:
    points = [(fraction, values) for fraction, values in points if values]
    if not points:
        return
    colour, line, marker = look
    axes.errorbar(
        [fraction for fraction, _ in points],
        [fmean(values) for _, values in points],
        yerr=[stdev(values) if len(values) > 1 else 0.0 for _, values in points],
        color=colour,
        linestyle=line,
        marker=marker,
        markersize=6,
        linewidth=1.8,
        capsize=3,
        label=name,
    )
    for fraction, values in points:
        axes.plot([fraction] * len(values), values, ".", color=colour, markersize=4, alpha=0.5)


def _finish(axes: Axes, fractions: Sequence[float], *, title: str, unit: str) -> None:
    axes.set_xscale("log")
    axes.set_xticks(fractions)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.set_xlabel("labels")
    axes.set_ylabel(unit)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)


def _page(groups: Sequence[Group], *, title: str, done: int, planned: int) -> str:
    devices = sorted({one.device for group in groups for one in group.outcomes})
    parts = [
        f"# Label efficiency: {title}",
        f"{done} of {planned} runs are finished, on {', '.join(devices)}. Mean ± sample standard deviation "
        "over the seeds, percent; gains are those of pairs of the same seed, in percentage points.",
    ]
    for head in dict.fromkeys(group.head for group in groups):
        of_head = [group for group in groups if group.head == head]
        parts += [f"## {HEADS[head].partition(':')[0].capitalize()}", markdown(score_table(of_head))]
        parts += _verdicts(of_head)
        for fraction in dict.fromkeys(group.fraction for group in of_head):
            here = [group for group in of_head if group.fraction == fraction]
            parts += [f"### Classes at {percent(fraction)} of the labels", markdown(class_table(here))]
    parts += ["## Cost of one run", markdown(cost_table(groups))]
    return "\n\n".join(parts) + "\n"


def _verdicts(groups: Sequence[Group]) -> list[str]:
    compared = [(group, group.comparison) for group in groups]
    lines = [
        f"* {percent(group.fraction)}, {group.start}: {comparison.verdict()}"
        for group, comparison in compared
        if comparison
    ]
    return ["\n".join(lines)] if lines else []
