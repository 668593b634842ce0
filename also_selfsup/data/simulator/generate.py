"""The simulator's front door: n scenes by seed, written by worker processes in a data set's layout."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from also_selfsup.data.simulator.job import Layout, SceneJob
from also_selfsup.data.simulator.kitti_writer import Kitti3dWriter, Kitti360Writer
from also_selfsup.data.simulator.nuscenes_writer import NuScenesWriter
from also_selfsup.data.simulator.once_writer import OnceWriter
from also_selfsup.data.simulator.semantickitti_writer import SemanticKittiWriter
from also_selfsup.data.simulator.semanticposs_writer import SemanticPossWriter
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.data.simulator.workers import results_of
from also_selfsup.settings.names import choose

# To add a layout, write its class and name it here.
LAYOUTS: dict[str, Layout] = {
    "nuscenes": NuScenesWriter(),
    "semantickitti": SemanticKittiWriter(),
    "semanticposs": SemanticPossWriter(),
    "kitti3d": Kitti3dWriter(),
    "kitti360": Kitti360Writer(),
    "once": OnceWriter(),
}
# Lies in every simulated data set and says how it was made; only folders that hold one are ever emptied.
MARK = "simulated.json"


def simulate(
    root: str | Path,
    *,
    layout: str = "nuscenes",
    scenes: int | Mapping[str, int] = 10,
    frames_per_scene: int = 10,
    seed: int = 0,
    sensor: str | None = None,
    azimuth_steps: int | None = None,
    version: str | None = None,
    workers: int = 1,
    progress: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write simulated scans with labels for the real data set's loader to read; answers the root.

    Args:
        root: Folder to write to; made if absent.
        layout: Name of a layout (`LAYOUTS`).
        scenes: How many scenes of each split, as {"train": 6, "val": 2}; a number is spread over the splits.
        frames_per_scene: Scans a scene, at the data set's own interval of time.
        seed: Fixes every byte, whatever the number of workers.
        sensor: Name of a sensor (`SENSORS`); None: the one of the real data set.
        azimuth_steps: Columns a turn; None: the real sensor's. Fewer make small, quick scans.
        version: Of the data set, for nuScenes ("v1.0-trainval", "v1.0-mini").
        workers: Processes; 1 works in this one.
        progress: Show a bar with rate and time left.
        overwrite: Replace an earlier simulation in that folder.

    Raises:
        ValueError: An unknown name or split, or a number below one.
        FileExistsError: The folder is not empty and `overwrite` is off, or holds something else.
    """
    writer = choose(LAYOUTS, layout, "layout")
    version = next(iter(writer.versions)) if version is None else version
    shares = choose(writer.versions, version, f"version of {layout}")
    counts = dict(scenes) if isinstance(scenes, Mapping) else spread(scenes, shares)
    numbers = {"frames_per_scene": frames_per_scene, "azimuth_steps": azimuth_steps, "workers": workers}
    _refuse_below_one({**numbers, "scenes": sum(counts.values())})
    model = (choose(SENSORS, sensor, "sensor") if sensor else writer.sensor).with_columns(azimuth_steps)
    names = [name for split, count in counts.items() for name in writer.names(split, count, version=version)]
    order = SceneJob(frames_per_scene, writer.interval, seed=seed, sensor=model, version=version)
    made_by = {"layout": layout, "version": version, "scenes": counts, "seed": seed, "sensor": model.name}
    with _room(root := Path(root), overwrite=overwrite):
        (root / MARK).write_text(json.dumps({**made_by, **numbers}, indent=1) + "\n")
        writer.prepare(root, version=version)
        results = results_of(writer, root, jobs=_jobs(order, names), workers=workers, progress=progress)
        writer.finish(root, results, version=version)
    return root


def _refuse_below_one(numbers: Mapping[str, int | None]) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"{name}={number}: must be at least 1.")


def _jobs(order: SceneJob, names: list[str]) -> list[SceneJob]:
    """One job a name; where names recur, frames are numbered on."""
    before: Counter[str] = Counter()
    jobs = []
    for index, name in enumerate(names):
        jobs.append(replace(order, index=index, name=name, first=before[name]))
        before[name] += order.frames
    return jobs


def spread(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Spread `total` scenes over splits by their shares; each split gets one as long as there are enough."""
    counts = dict.fromkeys(shares, 0)
    for _ in range(total):
        # The split furthest behind its share; an empty one comes first.
        split = max(shares, key=lambda name: (counts[name] == 0, shares[name] * total - counts[name]))
        counts[split] += 1
    return counts


@contextmanager
def _room(root: Path, *, overwrite: bool) -> Iterator[None]:
    """Make the folder, empty; after an error or Ctrl-C it is so again: a part would pass for a data set.

    Raises:
        FileExistsError: Something is in it that may not be replaced.
    """
    is_new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    entries = list(root.iterdir())
    if entries and not (overwrite and (root / MARK).is_file()):
        cure = (
            "only an earlier simulation is ever overwritten" if overwrite else "or overwrite it (--overwrite)"
        )
        raise FileExistsError(f"{root}: the folder is not empty. Choose another one; {cure}.")
    _empty(root)
    try:
        yield
    except BaseException:
        _empty(root)
        if is_new:
            root.rmdir()
        raise


def _empty(root: Path) -> None:
    for entry in list(root.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
