"""Where columns become points: which of them are x, y, z and intensity, and what is no return.

n points of one scan.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import LARGEST_COORDINATE, ScanError
from also_selfsup.data.readers.table import Table

AXES = ("x", "y", "z")
# What return strength is called; scalar_ is how CloudCompare exports a column.
STRENGTHS = ("intensity", "i", "intensities", "reflectivity", "reflectance", "remission", "remissions")
INTENSITY_NAMES = (*STRENGTHS, *(f"scalar_{name}" for name in STRENGTHS))

# Bytes of labels or of an image are tiny or huge numbers when read as float32.
LEAST_REACH = 0.01

COLUMNS_CURE = "Name the columns of the files in cfg.data.columns, as in [x,y,z,intensity,ring]"

Found = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def strength_of(names: Sequence[str]) -> str | None:
    """Which of the names (in small letters) is that of the intensity; None if none is."""
    return next((name for name in INTENSITY_NAMES if name in names), None)


def default_names(count: int) -> tuple[str, ...]:
    """Names of the columns of a file without names, in the order of KITTI, nuScenes and most others."""
    return (*AXES, "intensity", *(f"column_{number}" for number in range(5, count + 1)))[:count]


def points_of(path: Path, table: Table, *, names: Sequence[str] | None, organised: bool) -> Found:
    """The points of a file.

    Args:
        path: The file, for messages.
        table: Its columns.
        names: Of the columns; None: the file's own, or the usual ones.
        organised: Rows that are not finite stand for no return and are left out; otherwise they are damage.

    Returns:
        Positions (n, 3), metres, and intensities (n,) as in the file, or None where it has none.

    Raises:
        ScanError: A column is missing, or values are no lidar's.
    """
    columns = _by_name(path, table, names=names)
    strength = strength_of(tuple(columns))
    chosen = [columns[name] for name in (*AXES, *([strength] if strength else []))]
    with np.errstate(over="ignore"):
        rows = np.stack([column.astype(np.float32) for column in chosen], axis=1)
    finite = np.logical_and.reduce([np.isfinite(column) for column in chosen])
    if not finite.all():
        if not organised:
            bad = np.count_nonzero(~finite)
            finding = f"{bad} of {len(rows)} points have values that are NaN or infinite"
            raise ScanError(path, finding, f"The file is damaged, or has other columns. {COLUMNS_CURE}")
        rows = rows[finite]
    _check_places(path, rows[:, :3])
    return rows[:, :3], rows[:, 3] if strength else None


def _by_name(path: Path, table: Table, *, names: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    own = names or table.names or default_names(len(table.columns))
    if len(own) != len(table.columns):
        shown = ", ".join(table.names) if table.names else f"{len(table.columns)} columns"
        finding = f"it has {shown}, which are not {len(own)}: {', '.join(own)}"
        raise ScanError(path, finding, "Set cfg.data.columns to the names of the files' columns, or to null")
    columns: dict[str, NDArray[Any]] = {}
    for name, column in zip(own, table.columns, strict=True):
        if column.dtype.kind in "fiu":
            columns.setdefault(name.lower(), column)
    missing = [name for name in AXES if name not in columns]
    if missing:
        finding = f"no column {', '.join(missing)} among {', '.join(own)}"
        raise ScanError(path, finding, COLUMNS_CURE)
    return columns


def _check_places(path: Path, pos: NDArray[np.float32]) -> None:
    if not pos.any():
        cure = "The sensor returned nothing: leave the file out, or set cfg.data.on_bad_scan=skip"
        raise ScanError(path, f"all {len(pos)} points are (0, 0, 0)" if len(pos) else "no point in it", cure)
    largest = np.abs(pos).max()
    if largest > LARGEST_COORDINATE:
        finding = f"a coordinate of {largest:.4g} m is beyond any lidar's (limit {LARGEST_COORDINATE:g} m)"
        cure = f"Bring points of a map into the sensor's frame first. {COLUMNS_CURE}"
        raise ScanError(path, finding, cure)
    if largest < LEAST_REACH:
        finding = f"its largest coordinate is {largest:.2g} m"
        raise ScanError(path, finding, "It is no scan in metres (labels look like that): leave it out")
