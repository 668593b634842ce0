"""What moves on the carriageway, the ego vehicle's own way included. Metres, seconds; `along`, `across` as in `ground`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.parts import Thing
from also_selfsup.data.simulator.sensors import SensorModel
from also_selfsup.data.simulator.things import people, vehicles

FOLLOW_GAP = 14.0


@dataclass(frozen=True)
class Drive:
    """The ego vehicle's way: steady speed, a slight weave in its lane, the tilt with which the lidar is mounted."""

    lane: float  # metres across
    speed: float
    weave: tuple[float, float]  # amplitude, phase
    tilt: tuple[float, float]  # radians about the sensor's x and y axes

    def along(self, time: float) -> float:
        """Position along the street."""
        return self.speed * time

    def pose(self, street: Street, time: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3) from the vehicle's to the world frame and position (3,) of the rear axle on the ground."""
        along = self.along(time)
        across = self.lane + self.weave[0] * np.sin(along * 0.05 + self.weave[1])
        position = street.place(np.array([along]), np.array([across]))[0]
        yaw = float(street.heading(np.array([along]))[0])
        ahead = street.place(np.array([along + 2.5]), np.array([across]))[0]
        pitch = -np.arctan2(ahead[2] - position[2], 2.5)
        return turn("z", yaw) @ turn("y", float(pitch)), position

    def sensor_pose(
        self, street: Street, sensor: SensorModel, time: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3) from the sensor's to the world frame and position (3,) of the sensor."""
        rotation, position = self.pose(street, time)
        mounting, offset = self.mounting(sensor)
        return rotation @ mounting, rotation @ offset + position

    def mounting(self, sensor: SensorModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3) from the sensor's to the vehicle's frame and the sensor's place (3,) in it."""
        rotation = (
            turn("z", -np.radians(sensor.front_azimuth)) @ turn("x", self.tilt[0]) @ turn("y", self.tilt[1])
        )
        return rotation, np.array([sensor.forward, 0.0, sensor.height])


def turn(axis: str, angle: float) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) about one axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix


def choose_drive(generator: np.random.Generator, street: Street) -> Drive:
    """Draw the ego vehicle's way: right-hand lane next to the parked cars."""
    lane_width = 2 * (street.half_width - street.parking) / street.lane_count
    lane = -(street.half_width - street.parking - lane_width / 2)
    tilt = generator.normal(0, np.radians(0.4), 2)
    return Drive(
        lane=float(lane), speed=float(generator.uniform(3, 10)), weave=(0.15, float(generator.uniform(0, 6.28))),
        tilt=(float(tilt[0]), float(tilt[1])),
    )  # fmt: skip


def _vehicle(
    draw: np.random.Generator, pose: tuple[float, float, float], speed: tuple[float, float]
) -> Thing:
    kind = draw.choice(["car", "truck", "bus", "motorcycle", "bicycle"], p=[0.74, 0.09, 0.06, 0.05, 0.06])
    if kind in ("motorcycle", "bicycle"):
        rider = people.motorcycle if kind == "motorcycle" else people.bicycle
        return rider(draw, pose, speed, ridden=True)
    maker = {"car": vehicles.car, "truck": vehicles.truck, "bus": vehicles.bus}[str(kind)]
    return maker(draw, pose, speed)


def vehicles_on_road(
    generator: np.random.Generator, street: Street, drive: Drive, *, density: float, start: float, end: float
) -> list[Thing]:
    """Traffic in every lane: with the ego vehicle at nearly its speed in its own lane, freely in the others."""
    things = []
    lanes = street.half_width - street.parking
    width = 2 * lanes / street.lane_count
    for number in range(street.lane_count):
        across = -lanes + (number + 0.5) * width
        own = abs(across - drive.lane) < 0.5
        direction = -1 if across > 0 else 1
        # All in a lane drive alike, or they would drive through one another.
        pace = direction * (drive.speed if own else float(generator.uniform(4, 12)))
        along = start + float(generator.uniform(0, 30))
        while along < end:
            if not own or abs(along) > FOLLOW_GAP:
                pose = (along, across + float(generator.normal(0, 0.15)), 0.0 if direction > 0 else np.pi)
                things.append(_vehicle(generator, pose, (pace, 0.0)))
            along += FOLLOW_GAP + float(generator.exponential(100 / density))
    return things


def across_the_road(generator: np.random.Generator, street: Street) -> list[Thing]:
    """Vehicles that wait in crossing streets, and pedestrians on the zebra crossings."""
    things = []
    for crossing in street.crossings:
        for side in (-1, 1):
            if generator.random() < 0.7:
                lane = crossing - side * street.crossing_half_width / 2
                pose = (
                    float(lane),
                    side * (street.half_width + 5.5 + float(generator.exponential(3))),
                    -side * np.pi / 2,
                )
                things.append(vehicles.car(generator, pose))
        if generator.random() < 0.5:
            along = crossing + generator.choice([-1, 1]) * (street.crossing_half_width + 2.5)
            across = float(generator.uniform(0.2, 0.9)) * street.half_width
            things.append(people.pedestrian(generator, (float(along), across, np.pi / 2), (0.0, 1.2)))
    return things
