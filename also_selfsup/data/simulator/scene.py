"""One simulated scene: a street, what is on it, a drive through it; answers what the lidar sees at any moment.

Letters: R rays of a turn, N points in file order, O objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator import measurement, raycast
from also_selfsup.data.simulator.ground import Street, first_ground
from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import World, assemble, placed
from also_selfsup.data.simulator.sensors import SensorModel
from also_selfsup.data.simulator.street import CHARACTERS, REACH, furnish, lay_out
from also_selfsup.data.simulator.things.ego import ego
from also_selfsup.data.simulator.traffic import Drive, across_the_road, choose_drive, turn, vehicles_on_road

# Rays deviate from the sensor's regular grid by its jitter, by the mounting's tilt and by the slope of the road.
EXTRA_MARGIN = np.radians(0.1)


@dataclass(frozen=True)
class Frame:
    """One scan in the sensor frame, points in the order of the sensor's files.

    Shapes: pos (N, 3) metres, strength (N,) as in `Returns`, ring (N,) 0 = lowest, kind (N,) `Kind`, moving (N,),
    object (N,) row of the scene's objects or -1; rotation (3, 3) and position (3,) of the sensor in the world.
    """

    pos: NDArray[np.float32]
    strength: NDArray[np.float32]
    ring: NDArray[np.int64]
    kind: NDArray[np.int64]
    moving: NDArray[np.bool_]
    object: NDArray[np.int64]
    rotation: NDArray[np.float64]
    position: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A street with its things and the drive through it; times in seconds from the start."""

    street: Street
    world: World
    drive: Drive
    sensor: SensorModel
    seed: tuple[int, ...]

    def object_poses(self, time: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World positions (O, 3) on the ground and headings (O,) of all objects."""
        objects = self.world.objects
        along = objects["along"] + objects["speed_along"] * time
        position = self.street.place(along, objects["across"] + objects["speed_across"] * time)
        position[:, 2] += objects["lift"]
        return position, objects["yaw"] + self.street.heading(along)

    def moving(self) -> NDArray[np.bool_]:
        """Whether (O,) objects move."""
        return np.hypot(self.world.objects["speed_along"], self.world.objects["speed_across"]) > 0.1

    def scan(self, time: float, number: int) -> Frame:
        """What the lidar sees at a time; `number` of the frame seeds its noise."""
        generator = np.random.default_rng([*self.seed, 1, number])
        rotation, position = self.drive.sensor_pose(self.street, self.sensor, time)
        heading = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
        grid = self.sensor.directions(generator)
        rays = tuple(axis.ravel() for axis in grid)
        level = _rotated(rays, turn("z", -heading) @ rotation)
        world = _rotated(level, turn("z", heading))
        ground = first_ground(self.street, position, world, self.sensor.max_range)
        parts = self._parts_around(time, position, heading)
        tilt = float(np.arccos(np.clip(rotation[2, 2], -1, 1)))
        hits = raycast.cast(
            parts,
            self.sensor,
            directions=level,
            background=ground,
            margin=tilt + EXTRA_MARGIN,
            generator=generator,
        )
        returns = self._measured(hits, parts, level, ground, world, position, generator)
        return self._written(returns, rays, rotation, position, generator)

    def _parts_around(self, time: float, position: NDArray[np.float64], heading: float) -> NDArray[Any]:
        """Parts within reach, the ego vehicle's own included, in the level frame (see `raycast`)."""
        objects, headings = self.object_poses(time)
        relative = (objects - position) @ turn("z", heading)
        parts = placed(self.world.parts, relative, headings - heading)
        near = np.hypot(parts["centre"][:, 0], parts["centre"][:, 1]) < self.sensor.max_range + 15
        own = assemble([ego(self.sensor)])
        own.parts["object"] = 0
        front = np.array([np.radians(self.sensor.front_azimuth)])
        mine = placed(own.parts, np.zeros((1, 3)), front)
        mine["object"] = -1
        return np.concatenate([parts[near], mine])

    def _measured(
        self,
        hits: raycast.Hits,
        parts: NDArray[Any],
        level: tuple[raycast.Array, ...],
        ground: raycast.Array,
        world: tuple[raycast.Array, ...],
        position: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> measurement.Returns:
        count = len(ground)
        kind, owner = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        reflectance, cosine = np.zeros(count, np.float32), np.zeros(count, np.float32)
        distance, lost = hits.distance.copy(), np.zeros(count, dtype=bool)
        on_ground = np.flatnonzero((hits.part < 0) & np.isfinite(ground))
        x, y = (position[axis] + ground[on_ground] * world[axis][on_ground] for axis in (0, 1))
        kind[on_ground], reflectance[on_ground] = self.street.surface(
            x.astype(np.float32), y.astype(np.float32)
        )
        # Grass is a thicket of blades: it answers grazing light too.
        grazing = np.where(kind[on_ground] == Kind.TERRAIN, np.float32(0.4), 0)
        cosine[on_ground] = grazing + (1 - grazing) * np.abs(world[2][on_ground])
        hit = np.flatnonzero(hits.part >= 0)
        if len(hit):
            rows = hits.part[hit]
            struck = parts[rows]
            frames = raycast.LocalFrames(struck)
            ids = np.arange(len(hit))
            direction = (*frames.turned(ids, level[0][hit], level[1][hit]), level[2][hit])
            local = tuple(frames.origin[axis] + distance[hit] * direction[axis] for axis in range(3))
            kind[hit], owner[hit], reflectance[hit] = struck["kind"], struck["object"], struck["reflectance"]
            cosine[hit] = measurement.incidence(struck, local, direction)
            pane, deeper = measurement.windows_of_houses(struck, local, direction)
            distance[hit] += deeper
            lost[hit] = generator.random(len(hit)) < np.where(pane, 0.45, struck["dropout"])
        strength, seen = measurement.detect(
            distance, reflectance, cosine, sensor=self.sensor, generator=generator
        )
        seen &= ~lost
        distance = np.where(seen, measurement.noisy(distance, kind, self.sensor, generator), np.inf).astype(
            np.float32
        )
        return measurement.Returns(
            distance=distance, strength=np.where(seen, strength, 0), kind=np.where(seen, kind, Kind.NOTHING),
            object=np.where(seen, owner, -1),
        )  # fmt: skip

    def _written(
        self,
        returns: measurement.Returns,
        rays: tuple[raycast.Array, ...],
        rotation: NDArray[np.float64],
        position: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Frame:
        """Points in file order."""
        columns, rings = self.sensor.azimuth_steps, self.sensor.ring_count
        order = np.arange(columns * rings).reshape(columns, rings)
        order = order.ravel() if self.sensor.column_major else order[:, ::-1].T.ravel()
        came_back = np.isfinite(returns.distance)
        pos = np.stack(rays, axis=1) * np.where(came_back, returns.distance, 0)[:, None]
        if self.sensor.keeps_nothing:
            # A measurement without a return is written as a point in the sensor; the files are corrected for the
            # vehicle's motion, so it lies where the sensor was when it fired: up to a few decimetres behind.
            late = 1 - np.arange(columns, dtype=np.float32) / columns
            front = np.radians(self.sensor.front_azimuth)
            behind = -self.drive.speed * self.sensor.turn_time * np.repeat(late, rings)[:, None]
            pos = np.where(
                came_back[:, None], pos, behind * np.array([np.cos(front), np.sin(front), 0.025], np.float32)
            )
        else:
            order = order[came_back[order]]
        owner = returns.object[order]
        moving = np.append(self.moving(), False)[owner]
        return Frame(
            pos=pos[order].astype(np.float32), strength=returns.strength[order], ring=order % rings,
            kind=returns.kind[order], moving=moving, object=owner, rotation=rotation, position=position,
        )  # fmt: skip


def _rotated(
    axes: tuple[raycast.Array, ...], matrix: NDArray[np.float64]
) -> tuple[raycast.Array, raycast.Array, raycast.Array]:
    x, y, z = axes
    first, second, third = (
        (np.float32(row[0]) * x + np.float32(row[1]) * y + np.float32(row[2]) * z) for row in matrix
    )
    return first, second, third


def make_scene(sensor: SensorModel, *, seed: tuple[int, ...], duration: float) -> Scene:
    """Draw a scene.

    Args:
        sensor: The lidar.
        seed: Numbers that fix every byte of the scene.
        duration: Seconds that the drive lasts; the world reaches a lidar's range beyond both ends.
    """
    generator = np.random.default_rng([*seed, 0])
    character = CHARACTERS[int(generator.integers(len(CHARACTERS)))]
    start, end = -REACH, REACH + 10 * duration
    street = lay_out(generator, character, start, end)
    drive = choose_drive(generator, street)
    end = REACH + drive.along(duration)
    things = furnish(generator, street, character=character, start=start, end=end)
    things += vehicles_on_road(generator, street, drive, density=character.traffic, start=start, end=end)
    things += across_the_road(generator, street)
    return Scene(street=street, world=assemble(things), drive=drive, sensor=sensor, seed=seed)
