"""Before the first scan of a folder is read: what its files hold, found out from a sample of them.

n points of one scan.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers import RAW_KINDS, READERS
from also_selfsup.data.readers.points import AXES, default_names, points_of, strength_of
from also_selfsup.data.readers.records import likely_width, split_records
from also_selfsup.data.readers.table import Table

SAMPLE = 8  # files of a kind, spread evenly
NUSCENES_WIDTH = 5
SCALES = (1.0, 255.0, 65535.0)
# Share of the points that may exceed a scale: on some sensors retro-reflectors do.
OUTLIERS = 0.1


@dataclass(frozen=True)
class Layout:
    """How the files of one kind are read.

    Attributes:
        width: Numbers a point of raw files; None for others.
        names: Of the columns; None: the files name them.
        scale: What intensities are divided by.
    """

    width: int | None
    names: tuple[str, ...] | None
    scale: float

    def read(self, path: Path, kind: str) -> tuple[NDArray[np.float32], NDArray[np.float32], Table]:
        """Positions (n, 3) metres, intensities (n, 1) in [0, 1] (zeros where there are none), and the file.

        Raises:
            ScanError: The file is missing, or not such a file.
        """
        table = self.table(path, kind)
        pos, raw = points_of(path, table, names=self.names, organised=kind not in RAW_KINDS)
        if raw is None:
            raw = np.zeros(len(pos), np.float32)
        return pos, np.clip(raw / np.float32(self.scale), 0, 1)[:, None], table

    def table(self, path: Path, kind: str) -> Table:
        """The columns of a file."""
        table = READERS[kind](path)
        return table if self.width is None else split_records(path, table, width=self.width)


@dataclass(frozen=True)
class Given:
    """What the settings say; None: to be detected."""

    columns: tuple[str, ...] | None
    intensity_scale: float | None


@dataclass
class Sampled:
    """What the sample of one kind showed."""

    layout: Layout | None
    findings: list[ScanError]  # of files that cannot be read
    columns: tuple[str, ...] = ()
    counts: tuple[int, int] = (0, 0)  # fewest and most points
    reach: float = 0.0  # metres, from the origin of the coordinates
    strength: str | None = None
    above: float = 0.0  # share of the points above the scale
    size: int = 0


def sample_kind(paths: Sequence[Path], kind: str, *, given: Given) -> Sampled:
    """Find out how the files of one kind are read.

    Args:
        paths: All files of the kind.
        kind: Their ending.
        given: What need not be found out.
    """
    chosen = [paths[place] for place in np.unique(np.linspace(0, len(paths) - 1, SAMPLE).astype(int))]
    tables: dict[Path, Table] = {}
    sampled = Sampled(None, [], size=len(chosen))
    for path in chosen:
        try:
            tables[path] = READERS[kind](path)
        except ScanError as error:
            sampled.findings.append(error)
    if kind in RAW_KINDS:
        tables = _split_raw(tables, kind, given=given, findings=sampled.findings)
    if tables:
        _interpret(sampled, tables, kind=kind, given=given)
    return sampled


def _split_raw(
    tables: Mapping[Path, Table], kind: str, *, given: Given, findings: list[ScanError]
) -> dict[Path, Table]:
    """Cut raw files into columns: as many as given, as the kind has, or as most of the files seem to have."""
    if given.columns:
        width: int | None = len(given.columns)
    elif kind == ".pcd.bin":
        width = NUSCENES_WIDTH
    else:
        votes = Counter(likely_width(table.columns[0]) for table in tables.values())
        votes.pop(None, None)
        width = max(votes, key=votes.__getitem__) if votes else None
    cut = {}
    for path, table in tables.items():
        try:
            if width is None:
                cure = "It is no scan, or name its columns in cfg.data.columns, as in [x,y,z,intensity]"
                raise ScanError(path, "no number of float32 columns makes a scan of it", cure)
            cut[path] = split_records(path, table, width=width)
        except ScanError as error:
            findings.append(error)
    return cut


def _interpret(sampled: Sampled, tables: Mapping[Path, Table], *, kind: str, given: Given) -> None:
    first = next(iter(tables.values()))
    names = given.columns
    if names is None and first.names is None:
        names = _names_of(first)
    found = []
    for path, table in tables.items():
        try:
            found.append(points_of(path, table, names=names, organised=kind not in RAW_KINDS))
        except ScanError as error:
            sampled.findings.append(error)
    if not found:
        return
    strengths = [raw for _, raw in found if raw is not None]
    scale = given.intensity_scale or likely_scale(strengths)
    width = len(first.columns) if kind in RAW_KINDS else None
    sampled.layout = Layout(width, names, scale)
    sampled.columns = names or first.names or ()
    sampled.strength = strength_of([name.lower() for name in sampled.columns]) if strengths else None
    counts = [len(pos) for pos, _ in found]
    sampled.counts = (min(counts), max(counts))
    sampled.reach = max(float(np.sqrt((pos**2).sum(axis=1).max())) for pos, _ in found)
    if strengths:
        sampled.above = float(np.mean(np.concatenate(strengths) > scale))


def _names_of(table: Table) -> tuple[str, ...]:
    """Names for columns without any: the fourth is intensity unless it is often negative."""
    names = default_names(len(table.columns))
    if len(names) > len(AXES) and np.mean(table.columns[3] < 0) > OUTLIERS:
        return (*AXES, "column_4", *names[4:])
    return names


def likely_scale(strengths: Sequence[NDArray[np.float32]]) -> float:
    """The smallest usual scale that nine tenths of the intensities lie within; 1 where there are none."""
    if not strengths:
        return SCALES[0]
    bulk = float(np.quantile(np.concatenate(strengths), 1 - OUTLIERS))
    return next((scale for scale in SCALES if bulk <= scale), SCALES[-1])


def describe(kind: str, count: int, *, sampled: Sampled, given: Given) -> str:
    """One line for the user on the files of one kind."""
    if sampled.layout is None:
        return f"{kind}: {count} files, none of {sampled.size} looked at can be read: {sampled.findings[0]}"
    how = "given" if given.columns else "detected"
    columns = " ".join(sampled.columns)
    least, most = sampled.counts
    parts = [f"{kind}: {count} files; columns {columns} ({how})"]
    if sampled.strength is None:
        parts.append("no intensity: zeros (cfg.inputs=[pos] cfg.loss.intensity_lambda=0 leave it out)")
    else:
        how = "given" if given.intensity_scale else "detected"
        cut = f", {sampled.above:.1%} of the points above it are cut" if sampled.above else ""
        parts.append(f"{sampled.strength} / {sampled.layout.scale:g} ({how}{cut})")
    parts.append(f"{least} to {most} points, up to {sampled.reach:.0f} m")
    parts.append(f"from {sampled.size} files")
    if sampled.findings:
        parts.append(f"{len(sampled.findings)} of them bad, the first: {sampled.findings[0]}")
    return "; ".join(parts)
