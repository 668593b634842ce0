"""The ego vehicle's way through the street, and how its lidar is mounted. Metres, seconds, radians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from also_selfsup.data.simulator.arrays import Doubles
from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.sensors import SensorModel
from also_selfsup.data.simulator.view import turn

WHEELBASE = 2.5


@dataclass(frozen=True)
class Drive:
    """Steady speed along a lane with a slight weave; the lidar is mounted with a small tilt."""

    lane: float  # metres across
    speed: float
    weave: tuple[float, float]  # amplitude, phase
    tilt: tuple[float, float]  # about the sensor's x and y axes

    def pose(self, street: Street, time: float) -> tuple[Doubles, Doubles]:
        """Rotation (3, 3) from vehicle to world frame, position (3,) of the rear axle on the ground."""
        along = self.speed * time + np.array([0, WHEELBASE])
        across = self.lane + self.weave[0] * np.sin(along * 0.05 + self.weave[1])
        rear, front = street.place(along, across)
        run = front - rear
        pitch, yaw = -np.arctan2(run[2], WHEELBASE), np.arctan2(run[1], run[0])
        return turn("z", float(yaw)) @ turn("y", float(pitch)), rear

    def mounting(self, sensor: SensorModel) -> tuple[Doubles, Doubles]:
        """Rotation (3, 3) from the sensor's to the vehicle's frame and the sensor's place (3,) in it."""
        rotation = (
            turn("z", -np.radians(sensor.front_azimuth)) @ turn("x", self.tilt[0]) @ turn("y", self.tilt[1])
        )
        return rotation, np.array([sensor.forward, 0.0, sensor.height])

    def sensor_pose(self, street: Street, sensor: SensorModel, *, time: float) -> tuple[Doubles, Doubles]:
        """Rotation (3, 3) from the sensor's to the world frame and position (3,) of the sensor."""
        rotation, position = self.pose(street, time)
        mounting, place = self.mounting(sensor)
        return rotation @ mounting, rotation @ place + position


def choose_drive(generator: np.random.Generator, street: Street, *, speed: float) -> Drive:
    """Draw the ego vehicle's way: the right-hand lane."""
    tilt = generator.normal(0, np.radians(0.7), 2)
    return Drive(
        lane=float(street.lanes()[0]),
        speed=speed,
        weave=(0.15, float(generator.uniform(0, 6.28))),
        tilt=(float(tilt[0]), float(tilt[1])),
    )
