"""Before a long run: what of that which was read is a problem, what is worth a note, and what to do."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from also_selfsup.reporting.inspection import Split, total
from also_selfsup.settings.schema import Settings

ENOUGH = 500  # points, to tell where the ground is
LOWEST = 0.3  # metres: lower than any lidar is mounted
HIGHEST = 6.0  # metres: higher than any car's or truck's lidar
MOST_HIDDEN = 0.05
DIM = 0.02  # intensities that are all below this were divided twice
FEW = 10  # n-th part of the usual number of points
SHOWN = 3  # names that one finding holds


@dataclass(frozen=True)
class Finding:
    """Something that a user should know.

    Attributes:
        problem: A training would fail on it or be misled; otherwise it is a note.
        where: File or split.
        found: What was found.
        cure: What to do.
    """

    problem: bool
    where: str
    found: str
    cure: str


def findings(splits: Sequence[Split], settings: Settings) -> list[Finding]:
    """All findings, problems first."""
    found: list[Finding] = []
    for split in splits:
        found += [*_of_opening(split), *_of_files(split)]
        if split.sound:
            found += [*_of_sizes(split, settings), *_of_the_sensor(split), *_of_intensities(split, settings)]
            found += [*_of_labels(split), *_of_the_box(split, settings)]
    found += _duplicates(splits)
    return sorted(found, key=lambda finding: not finding.problem)


def _of_opening(split: Split) -> Iterator[Finding]:
    if split.error:
        yield Finding(True, f"split {split.name}", split.error, "")
    for warning in dict.fromkeys(split.warnings):
        yield Finding(False, f"split {split.name}", warning, "Fetch the rest, unless a part is meant")


def _of_files(split: Split) -> Iterator[Finding]:
    for scan in split.examined:
        if scan.finding:
            yield Finding(True, scan.name, scan.finding, scan.cure)


def _of_sizes(split: Split, settings: Settings) -> Iterator[Finding]:
    usual = median(scan.count for scan in split.sound)
    if small := [scan for scan in split.sound if scan.count * FEW < usual]:
        said = f"{len(small)} scans with less than a tenth of the usual {usual:.0f} points"
        yield Finding(False, f"split {split.name}", f"{said}: {_names(small)}", "Look at these files")
    queries = settings.non_manifold_points // 3
    if not settings.inspect.labels and usual < queries:
        cure = "Lower cfg.non_manifold_points"
        said = f"scans have {usual:.0f} points, fewer than a third of the queries"
        yield Finding(False, f"split {split.name}", said, cure)


def _of_the_sensor(split: Split) -> Iterator[Finding]:
    scans = [scan for scan in split.sound if scan.count >= ENOUGH]
    if not scans:
        return
    height = median(scan.height for scan in scans)
    where = f"split {split.name}, sensor"
    if height < LOWEST:
        said = f"the origin of the rays lies {height:.2f} m above the ground, lower than any lidar"
        cure = "The points may be in a vehicle's or a map's frame: bring them into the sensor's"
        yield Finding(True, where, said, f"{cure}, or set cfg.data.sensor_origin (cfg=folder)")
    elif height > HIGHEST:
        said = f"the origin of the rays lies {height:.1f} m above the ground, higher than on any car"
        yield Finding(False, where, said, "Check the frame of the points")
    hidden = median(scan.hidden for scan in scans)
    if hidden > MOST_HIDDEN:
        said = f"{100 * hidden:.0f} % of the returns lie behind others, as seen from the origin of the rays"
        cure = (
            "Several sensors or frames may be joined in a file, or the origin is another: queries need rays"
        )
        yield Finding(False, where, said, cure)


def _of_intensities(split: Split, settings: Settings) -> Iterator[Finding]:
    least = min(scan.intensities[0] for scan in split.sound)
    largest = max(scan.intensities[1] for scan in split.sound)
    where = f"split {split.name}, intensities"
    if least == largest:
        blind = settings.inputs == ["intensities"]
        cure = "Set cfg.inputs=[pos] and cfg.loss.intensity_lambda=0"
        yield Finding(blind, where, f"all are {least:g}: they tell a network nothing", cure)
    elif largest < DIM:
        cure = "Lower cfg.data.intensity_scale, where the data set takes it"
        yield Finding(False, where, f"none is above {largest:.3g}, of 0 to 1", cure)


def _of_labels(split: Split) -> Iterator[Finding]:
    counts = total(split.sound, "label_counts")
    if counts is None or split.dataset is None:
        return
    where = f"split {split.name}, labels"
    if not counts[1:].any():
        yield Finding(True, where, "every point is ignored", "Fetch the labels of this split")
    elif absent := [name for name, count in zip(split.dataset.class_names, counts, strict=True) if not count]:
        said = f"no point of {', '.join(name for name in absent if name != 'ignore') or 'ignore'}"
        yield Finding(False, where, said, "Normal for a small part of a data set")


def _of_the_box(split: Split, settings: Settings) -> Iterator[Finding]:
    if settings.network.extent is None:
        return
    where, inside = f"split {split.name}, box", median(scan.inside for scan in split.sound)
    said = f"{100 * inside:.1f} % of the points lie in cfg.network.extent={settings.network.extent}"
    if inside < 0.01:
        yield Finding(True, where, said, "Check its axes and heights against the sensor's frame")
    elif inside < 0.1:
        yield Finding(False, where, said, "The network sees a small part of the scans")


def _duplicates(splits: Sequence[Split]) -> Iterator[Finding]:
    """Frames that train and validate at once, by their lists or by their content; and copies in a split."""
    first, second = splits[0], splits[-1]
    if first.name != second.name and (shared := sorted(first.files & second.files)):
        own = bool(first.dataset is not None and first.dataset.shares_frames)
        shown = ", ".join(name.decode() for name in shared[:SHOWN])
        said = f"{len(shared)} frames are in both, such as {shown}"
        cure = "So the data set's own lists have it" if own else "Choose splits that have no frame in common"
        yield Finding(not own, f"splits {first.name} and {second.name}", said, cure)
    by_content: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
    for split in splits:
        for name, digest in {scan.name: scan.digest for scan in split.sound}.items():
            by_content[digest].append((split.name, name))
    yield from _copies(by_content)


def _copies(by_content: dict[bytes, list[tuple[str, str]]]) -> Iterator[Finding]:
    """Different files with the same points."""
    groups: Counter[tuple[str, ...]] = Counter()
    examples: dict[tuple[str, ...], str] = {}
    for places in by_content.values():
        names = dict.fromkeys(name for _, name in places)
        if len(names) > 1:
            key = tuple(dict.fromkeys(split for split, _ in places))
            groups[key] += 1
            examples.setdefault(key, " and ".join(list(names)[:2]))
    for key, count in groups.items():
        many = "one scan is" if count == 1 else f"{count} scans are"
        said = f"{many} in several files, such as {examples[key]}"
        cure = (
            "Remove the copies: a validation on trained scans says nothing" if len(key) > 1 else "Remove them"
        )
        yield Finding(len(key) > 1, _places(key), said, cure)


def _places(splits: Sequence[str]) -> str:
    return f"split{'s' if len(splits) > 1 else ''} {' and '.join(splits)}"


def _names(scans: Sequence[object]) -> str:
    names = [str(getattr(scan, "name", "")) for scan in scans]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
