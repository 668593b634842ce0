"""A simulation that is made once: its size, the command for it, and a note that it is complete."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from also_selfsup.data.simulator.generate import simulate


@dataclass(frozen=True)
class Simulation:
    """How much is simulated.

    Attributes:
        scenes: Scenes of each split.
        frames_per_scene: Scans of each scene.
        seed: Of the streets.
        azimuth_steps: Columns a turn; None: the real sensor's.
    """

    scenes: Mapping[str, int]
    frames_per_scene: int
    seed: int = 0
    azimuth_steps: int | None = None

    def command(self, root: str) -> str:
        """The command line that does it."""
        words = ["python", "-m", "also_selfsup.data.simulator", "--root", root, "--scenes"]
        words += [",".join(f"{split}={count}" for split, count in self.scenes.items())]
        words += ["--frames-per-scene", str(self.frames_per_scene), "--seed", str(self.seed)]
        return shlex.join(
            words + (["--azimuth-steps", str(self.azimuth_steps)] if self.azimuth_steps else [])
        )


def simulate_once(root: Path, simulation: Simulation, *, workers: int, progress: bool = False) -> None:
    """Simulate into `root`, unless it holds the very same simulation, complete.

    A note beside the folder tells what was made, and that it was finished.

    Raises:
        FileExistsError: The folder has something in it that is no simulation.
    """
    note = root.with_name(f"{root.name}.json")
    wanted = asdict(simulation)
    found = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else None
    if found == wanted and root.is_dir():
        return
    note.unlink(missing_ok=True)
    simulate(
        root,
        layout="nuscenes",
        scenes=simulation.scenes,
        frames_per_scene=simulation.frames_per_scene,
        seed=simulation.seed,
        azimuth_steps=simulation.azimuth_steps,
        workers=workers,
        progress=progress,
        overwrite=True,
    )
    note.write_text(json.dumps(wanted), encoding="utf-8")
