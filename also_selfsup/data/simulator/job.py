"""The order for one scene, as it travels to a worker process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from also_selfsup.data.simulator.scene import Frame, Scene, make_scene
from also_selfsup.data.simulator.sensors import SensorModel


@dataclass(frozen=True)
class SceneJob:
    """One scene to simulate: its number in the whole, its name in the layout, its split, and how many frames."""

    index: int
    name: str
    split: str
    frames: int
    interval: float  # seconds between frames
    seed: int
    sensor: SensorModel
    version: str  # of the tables, in layouts that have versions
    first: int = 0  # number of its first frame, where several scenes share one sequence

    def scene(self) -> Scene:
        """The scene; (seed, index) alone fix it, so that the number of workers changes nothing."""
        return make_scene(self.sensor, seed=(self.seed, self.index), duration=self.frames * self.interval)

    def scans(self, scene: Scene) -> Iterator[Frame]:
        """The scene's frames in order."""
        return (scene.scan(number * self.interval, number) for number in range(self.frames))

    def token(self, *what: object) -> str:
        """32 hexadecimal digits that name one row of a table, the same in every run."""
        text = "/".join(str(word) for word in (self.seed, self.index, *what))
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
