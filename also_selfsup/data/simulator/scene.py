"""One simulated scene: a street, what is on it, a drive through it, and what the lidar sees.

Letters: R rays of a turn, N points in file order, O objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.arrays import Bools, Doubles, Floats, Ints
from also_selfsup.data.simulator.drive import Drive, choose_drive
from also_selfsup.data.simulator.ground import Street, first_ground
from also_selfsup.data.simulator.measurement import Returns, measure
from also_selfsup.data.simulator.parts import World, assemble, placed
from also_selfsup.data.simulator.raycast import cast
from also_selfsup.data.simulator.sensors import SensorModel
from also_selfsup.data.simulator.street import CHARACTERS, REACH, furnish, lay_out
from also_selfsup.data.simulator.things.ego import ego
from also_selfsup.data.simulator.traffic import across_the_road, vehicles_on_road
from also_selfsup.data.simulator.view import View, look, turn


@dataclass(frozen=True)
class Frame:
    """One scan in the sensor frame, points in the order of the sensor's files.

    Shapes: pos (N, 3) metres, strength (N,) as in `Returns`, ring (N,) 0 = lowest, kind (N,) `Kind`, moving
    (N,), object (N,) row of the scene's objects or -1; rotation (3, 3) and position (3,) of the sensor in the
    world.
    """

    pos: Floats
    strength: Floats
    ring: Ints
    kind: Ints
    moving: Bools
    object: Ints
    rotation: Doubles
    position: Doubles


@dataclass(frozen=True)
class Scene:
    """A street with its things and the drive through it; times in seconds from the start."""

    street: Street
    world: World
    drive: Drive
    sensor: SensorModel
    seed: tuple[int, ...]

    def object_poses(self, time: float) -> tuple[Doubles, Doubles]:
        """World positions (O, 3) on the ground and headings (O,) of all objects."""
        objects = self.world.objects
        along = objects["along"] + objects["speed_along"] * time
        position = self.street.place(along, objects["across"] + objects["speed_across"] * time)
        return position, objects["yaw"] + self.street.heading(along)

    def moving(self) -> Bools:
        """Whether (O,) objects move."""
        objects = self.world.objects
        moving: Bools = np.hypot(objects["speed_along"], objects["speed_across"]) > 0.1
        return moving

    def view(self, time: float, *, generator: np.random.Generator) -> View:
        """The lidar's rays at a time."""
        rotation, position = self.drive.sensor_pose(self.street, self.sensor, time=time)
        return look(self.sensor, rotation, position=position, generator=generator)

    def parts_around(self, time: float, view: View) -> NDArray[Any]:
        """Parts within range, those of the ego vehicle included, in the level frame (see `view`)."""
        position, heading = self.object_poses(time)
        relative = (position - view.position) @ turn("z", view.heading)
        parts = placed(self.world.parts, relative, yaw=heading - view.heading)
        # Range to a middle: the largest thing, a house, reaches some fifteen metres from its own.
        near = np.hypot(parts["centre"][:, 0], parts["centre"][:, 1]) < self.sensor.max_range + 15
        front = np.array([np.radians(self.sensor.front_azimuth)])
        own = placed(assemble([ego(self.sensor)]).parts, np.zeros((1, 3)), yaw=front)
        own["object"] = -1
        return np.concatenate([parts[near], own])

    def scan(self, time: float, number: int) -> Frame:
        """What the lidar sees at a time; `number` of the frame seeds its noise."""
        generator = np.random.default_rng([*self.seed, 1, number])
        view = self.view(time, generator=generator)
        parts = self.parts_around(time, view)
        ground = first_ground(self.street, view.position, directions=view.world, reach=self.sensor.max_range)
        hits = cast(parts, view, background=ground, generator=generator)
        returns = measure(hits, view, parts=parts, street=self.street, generator=generator)
        return self._in_file_order(returns, view)

    def _in_file_order(self, returns: Returns, view: View) -> Frame:
        sensor = self.sensor
        came_back = np.isfinite(returns.distance)
        order = np.arange(len(came_back))
        if not sensor.column_major:
            order = order.reshape(sensor.azimuth_steps, sensor.ring_count)[:, ::-1].T.ravel()
        pos = np.stack(view.rays, axis=1) * np.where(came_back, returns.distance, 0)[:, None]
        if sensor.keeps_nothing:
            pos = np.where(came_back[:, None], pos, self._nowhere())
        else:
            order = order[came_back[order]]
        owner = returns.object[order]
        return Frame(
            pos=pos[order].astype(np.float32),
            strength=returns.strength[order],
            ring=order % sensor.ring_count,
            kind=returns.kind[order],
            moving=np.append(self.moving(), False)[owner],
            object=owner,
            rotation=view.rotation,
            position=view.position,
        )

    def _nowhere(self) -> Floats:
        """Points (R, 3) that stand for measurements without a return.

        Such a measurement is a point in the sensor; the real files are corrected for the vehicle's motion, so
        it lies where the sensor was when it fired: up to some decimetres behind, and the same for all rings
        of a column.
        """
        steps, front = self.sensor.azimuth_steps, np.radians(self.sensor.front_azimuth)
        late = 1 - np.arange(steps) / steps
        behind = -self.drive.speed * self.sensor.turn_time * late
        track = behind[:, None] * np.array([np.cos(front), np.sin(front), 0.025])
        return np.repeat(track, self.sensor.ring_count, axis=0).astype(np.float32)


def make_scene(sensor: SensorModel, *, seed: tuple[int, ...], duration: float) -> Scene:
    """Draw a scene.

    Args:
        sensor: The lidar.
        seed: Numbers that fix every byte of the scene.
        duration: Seconds that the drive lasts; the world reaches a lidar's range beyond both ends.
    """
    generator = np.random.default_rng([*seed, 0])
    character = CHARACTERS[int(generator.integers(len(CHARACTERS)))]
    drive_speed = float(generator.uniform(3, 10))
    start, end = -REACH, REACH + drive_speed * duration
    street = lay_out(generator, character, start=start, end=end)
    drive = choose_drive(generator, street, speed=drive_speed)
    things = furnish(generator, street, character=character, start=start, end=end)
    things += vehicles_on_road(
        generator, street, drive=drive, density=character.traffic, start=start, end=end
    )
    things += across_the_road(generator, street)
    return Scene(street=street, world=assemble(things), drive=drive, sensor=sensor, seed=seed)
