"""The order for one scene as it travels to a worker process, and what a layout must do with it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from also_selfsup.data.simulator.scene import Frame, Scene, make_scene
from also_selfsup.data.simulator.sensors import SensorModel


@dataclass(frozen=True)
class SceneJob:
    """One scene to simulate: its number in the whole, its name in the layout, how many frames."""

    frames: int
    interval: float  # seconds between frames
    seed: int
    sensor: SensorModel
    version: str  # of the tables, in layouts that have versions
    index: int = 0
    name: str = ""
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


class Layout(ABC):
    """The native layout of a real data set: names of scenes, files, tables.

    Attributes:
        sensor: The data set's own lidar.
        interval: Seconds between frames.
        versions: For each version of the data set, the first one being the default, its splits and the share
        of
            the scenes that each gets when only a total is asked for.
    """

    sensor: ClassVar[SensorModel]
    interval: ClassVar[float]
    versions: ClassVar[Mapping[str, Mapping[str, float]]]

    @abstractmethod
    def names(self, split: str, count: int, *, version: str) -> list[str]:
        """Names of `count` scenes of a split; a ValueError says what the choices are."""

    @abstractmethod
    def prepare(self, root: Path, *, version: str) -> None:
        """Make the folders that all scenes share."""

    @abstractmethod
    def write_scene(self, root: Path, job: SceneJob) -> Any:
        """Simulate a scene and write its scans and labels, in a worker; answers what `finish` needs of it."""

    @abstractmethod
    def finish(self, root: Path, results: Sequence[Any], *, version: str) -> None:
        """Write what needs all scenes, given their results in order."""
