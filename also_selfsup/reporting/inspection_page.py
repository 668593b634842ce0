"""Before a long run: what was read and found, as a page, a table for the terminal, and a list of problems."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from also_selfsup.checkpoints.same_settings import train_command
from also_selfsup.reporting.inspection import Split, total
from also_selfsup.reporting.inspection_findings import Finding
from also_selfsup.reporting.inspection_pictures import distribution_picture, example_picture, label_picture
from also_selfsup.reporting.report import Commands, Picture, Section, Table, Text
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.whole_file import whole_file

LISTED = 200  # findings that the page holds; the file has all
# Of a scan: words, attribute, form, factor.
FIGURES = (
    ("points of a scan", "count", "{:.0f}", 1.0),
    ("farthest point of a scan (m)", "farthest", "{:.1f}", 1.0),
    ("sensor above the ground (m)", "height", "{:.2f}", 1.0),
    ("returns that others hide (%)", "hidden", "{:.1f}", 100.0),
    ("points in cfg.network.extent (%)", "inside", "{:.1f}", 100.0),
    ("one read (ms)", "seconds", "{:.1f}", 1000.0),
)

CAPTION = "least / median / most of those that were read; the rate is that of all loader processes."

Parts = list[Text | Table | Picture | Commands]


def verdict(splits: Sequence[Split], found: Sequence[Finding]) -> str:
    """One sentence on what was read and how much is wrong."""
    problems = sum(finding.problem for finding in found)
    read = sum(len(split.examined) for split in splits)
    there = sum(len(split.files) for split in splits)
    how_many = f"{f'All {read}' if read >= there else f'{read} of {there}'} scans were looked at"
    if problems:
        return f"{how_many}: {problems} problem{'s' if problems > 1 else ''} to mend before a long run."
    return f"{how_many}: no problem found."


def numbers(splits: Sequence[Split]) -> list[list[str]]:
    """Rows of figures, a column a split; "–" where nothing could be read."""
    rows = [
        ["scans in the split", *(str(len(s.dataset)) if s.dataset is not None else "–" for s in splits)],
        ["scans read", *(str(len(s.examined)) for s in splits)],
        ["bad scans", *(str(len(s.examined) - len(s.sound)) for s in splits)],
    ]
    for name, attribute, form, scale in FIGURES:
        if attribute == "inside" and all(scan.inside == 1 for split in splits for scan in split.sound):
            continue  # the network sees everything
        rows.append([name, *(_figure(split, attribute, form, scale) for split in splits)])
    rows.append(["intensities, least / largest", *(_intensities(split) for split in splits)])
    rows.append(["scans a second", *(_rate(split) for split in splits)])
    return rows


def sections(
    splits: Sequence[Split], found: Sequence[Finding], *, settings: Settings, folder: Path
) -> list[Section]:
    """The page; its pictures are drawn into `folder`."""
    header = ["what", *(f"{split.name} ({split.role})" for split in splits)]
    parts: Parts = [Text(verdict(splits, found), emphasis=True)]
    for wanted, heading in ((True, "Problems"), (False, "Notes")):
        rows = [[f.where, f.found, f.cure] for f in found if f.problem == wanted]
        if rows:
            more = f"; the first {LISTED} of {len(rows)}, findings.csv has all" if len(rows) > LISTED else ""
            caption = f"{heading}: where, what was found, what to do{more}."
            parts.append(Table(["where", "found", "what to do"], rows[:LISTED], caption, wrap=True))
    page = [
        Section("Findings", parts),
        Section("Numbers", [Table(header, numbers(splits), "Of scans: " + CAPTION)]),
    ]
    if pictures := _pictures(splits, folder):
        page.append(Section("Pictures", pictures))
    if summary := [line for split in splits for line in getattr(split.dataset, "summary", ())]:
        page.append(Section("How the files are read", [Text(line) for line in dict.fromkeys(summary)]))
    command = train_command(settings, labels=settings.inspect.labels)
    return [*page, Section("What to run next", [Commands([command])])]


def write_findings(path: Path, found: Sequence[Finding]) -> Path:
    """Write all findings as CSV: kind, where, found, cure."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "where", "found", "cure"])
        writer.writerows(["problem" if f.problem else "note", f.where, f.found, f.cure] for f in found)
    return path


def _pictures(splits: Sequence[Split], folder: Path) -> Parts:
    read = [split for split in splits if split.sound]
    if not read:
        return []
    first = read[0]
    parts: Parts = [
        Picture(
            distribution_picture(read, folder / "distributions.png"),
            "How many, how far, how bright, how long: each split's scans and points. Splits of one sensor "
            "look alike.",
            "Histograms of points a scan, distances, intensities and reading times.",
        )
    ]
    if total(first.sound, "label_counts") is not None:
        parts.append(_label_table(read))
        parts.append(
            Picture(
                label_picture(read, folder / "labels.png"),
                "Share of each class among the labelled points; the axis is logarithmic above 0.01 %.",
                "Bars of the classes' shares.",
            )
        )
    if first.dataset is not None:
        scan = first.sound[len(first.sound) // 2]
        picture = example_picture(
            first.dataset.read(first.dataset.index_of(scan.name)), folder / "example.png"
        )
        caption = (
            f"{scan.name}. The triangle is where its rays start: they should run through air, and the ground "
            "should lie below it."
        )
        parts.append(Picture(picture, caption, "One scan from above and from the side."))
    return parts


def _label_table(splits: Sequence[Split]) -> Table:
    """Points of each class, in percent of all points."""
    counts = [total(split.sound, "label_counts") for split in splits]
    shares = [100 * own / max(1, own.sum()) for own in counts if own is not None]
    names = splits[0].dataset.class_names if splits[0].dataset is not None else ()
    rows = [[name, *(f"{own[label]:.3f}" for own in shares)] for label, name in enumerate(names)]
    return Table(["class", *(split.name for split in splits)], rows, "Points of each class, % of all points.")


def _figure(split: Split, attribute: str, form: str, scale: float) -> str:
    """Least, median and most of a figure of the sound scans."""
    values = [scale * float(getattr(scan, attribute)) for scan in split.sound]
    shown = (min(values), float(np.median(values)), max(values)) if values else ()
    return " / ".join(form.format(value) for value in shown) or "–"


def _intensities(split: Split) -> str:
    if not split.sound:
        return "–"
    least = min(scan.intensities[0] for scan in split.sound)
    return f"{least:.3g} / {max(scan.intensities[1] for scan in split.sound):.3g}"


def _rate(split: Split) -> str:
    return f"{len(split.examined) / split.seconds:.1f}" if split.seconds > 0 and split.examined else "–"
