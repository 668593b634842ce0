"""For cost_gpu.py: its rows as tables for the terminal and as a figure."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.table import Table

Row = dict[str, Any]
NO_MEMORY = "out of memory"
NAMES = {"native": "native, bf16", "spconv": "spconv, fp16"}
COLOURS = {"native": "tab:blue", "spconv": "tab:orange"}
# Of a layer: a column of the CSV, its name and its colour.
PARTS = {"forward_ms": ("forward", "tab:green"), "ms": ("forward + backward", "tab:blue")}


def network_table(rows: list[Row], title: str) -> Table:
    """The sweeps over scans and sizes of the cells, a line a batch and framework."""
    heads = ("sweep", "scans", "cell, m", "voxels", "", "ms", "µs a voxel", "tables, ms", "peak GiB")
    table = Table(*heads, title=title)
    for row in rows:
        per_voxel = None if row["ms"] is None else 1e3 * row["ms"] / row["voxels"]
        cells = [row["sweep"], str(row["scans"]), f"{row['grid_size']:g}", _cell(row["voxels"], ".0f")]
        cells += [NAMES[row["framework"]], row["note"] or _cell(row["ms"], ".2f"), _cell(per_voxel, ".3f")]
        table.add_row(*cells, _cell(row["tables_ms"], ".2f"), _cell(row["peak_gib"], ".2f"))
    return table


def layer_table(rows: list[Row], title: str) -> Table:
    """The sweep over channels."""
    heads = [head for name, _ in PARTS.values() for head in (f"{name}, ms", "TFLOP/s", "share of dense")]
    table = Table("channels", *heads, title=title)
    for row in rows:
        cells = [row["note"]]
        if not row["note"]:
            kinds = {"ms": ".3f", "tflops": ".3g", "share": ".0%"}
            cells = [
                _cell(row[begin + end], kind) for begin in ("forward_", "") for end, kind in kinds.items()
            ]
        table.add_row(str(row["channels"]), *cells)
    return table


def plot(path: Path, rows: list[Row]) -> None:
    """Three panels: by scans of a batch, by voxels, by channels of a layer; thin lines are proportional.

    What did not fit into memory is left out.
    """
    figure = Figure(figsize=(12.0, 3.8), layout="constrained")
    by_scans, by_voxels, by_channels = figure.subplots(1, 3)
    for name, colour in COLOURS.items():
        style = {"label": NAMES[name], "color": colour}
        _draw(by_scans, _measured(rows, "scans", name), "scans", "ms", **style)
        _draw(by_voxels, _measured(rows, "grid size", name), "voxels", "ms", **style)
    layers = _measured(rows, "channels", "native")
    for column, (name, colour) in PARTS.items():
        _draw(by_channels, layers, "channels", column, label=name, color=colour)
        dense = {"label": f"dense, {name}", "color": colour, "linestyle": "--", "linewidth": 1.0}
        _draw(by_channels, layers, "channels", f"dense_{column}", **dense)
    _proportional(by_scans, _measured(rows, "scans", "native"), "scans", power=1)
    _proportional(by_voxels, _measured(rows, "grid size", "native"), "voxels", power=1)
    _proportional(by_channels, layers, "channels", power=2)
    network, layer = "network, forward + backward, ms", "one layer, ms"
    _finish(by_scans, "scans of a batch", network, ticks=_places(rows, "scans", "scans"))
    voxels = _places(rows, "grid size", "voxels")
    _finish(by_voxels, "voxels of a batch, by size of the cells", network, ticks=voxels)
    _finish(by_channels, "channels in and out", layer, ticks=_places(rows, "channels", "channels"))
    figure.savefig(path, dpi=150)


def _measured(rows: list[Row], sweep: str, framework: str) -> list[Row]:
    return [r for r in rows if (r["sweep"], r["framework"], r["note"]) == (sweep, framework, "")]


def _places(rows: list[Row], sweep: str, column: str) -> list[int]:
    return sorted({row[column] for row in rows if row["sweep"] == sweep and not row["note"]})


def _draw(axes: Axes, rows: list[Row], x: str, y: str, **style: Any) -> None:
    if rows:  # no empty entry in the legend
        axes.plot([row[x] for row in rows], [row[y] for row in rows], marker="o", markersize=3.5, **style)


def _proportional(axes: Axes, rows: list[Row], x: str, *, power: int) -> None:
    """A thin line through the largest size measured."""
    if not rows:
        return
    last = max(rows, key=lambda row: row[x])
    places = [min(row[x] for row in rows), last[x]]
    values = [last["ms"] * (place / last[x]) ** power for place in places]
    label = f"proportional to {x}" + (f"$^{power}$" if power > 1 else "")
    axes.plot(places, values, color="0.5", linewidth=0.7, label=label)


def _finish(axes: Axes, x: str, y: str, *, ticks: list[int]) -> None:
    """Axes with units, both logarithmic."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"{tick / 1000:.0f}k" if tick >= 1000 else str(tick) for tick in ticks])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="major", color="0.9", linewidth=0.6)
    if axes.lines:
        axes.legend(fontsize=7)


def _cell(value: float | None, kind: str) -> str:
    return "" if value is None else format(value, kind)
