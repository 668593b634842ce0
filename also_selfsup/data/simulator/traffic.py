"""What moves on the carriageway besides the ego vehicle. Metres, seconds; places as in `ground`."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.drive import Drive
from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.parts import Pose, Thing
from also_selfsup.data.simulator.things import people, vehicles

FOLLOW_GAP = 14.0
MIX = {"car": 0.78, "truck": 0.07, "bus": 0.04, "motorcycle": 0.05, "bicycle": 0.06}


def vehicle(generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float]) -> Thing:
    """A vehicle of the usual mix, driven or ridden."""
    name = str(generator.choice(list(MIX), p=list(MIX.values())))
    if name == "motorcycle":
        return people.motorcycle(generator, pose, speed=speed, ridden=True)
    if name == "bicycle":
        return people.bicycle(generator, pose, speed=speed, ridden=True)
    maker = {"car": vehicles.car, "truck": vehicles.truck, "bus": vehicles.bus}[name]
    return maker(generator, pose, speed=speed)


def vehicles_on_road(
    generator: np.random.Generator, street: Street, *, drive: Drive, density: float, start: float, end: float
) -> list[Thing]:
    """Traffic in every lane: in the ego vehicle's lane at its speed, in others at that lane's own."""
    things = []
    for across in street.lanes():
        own = abs(across - drive.lane) < 0.5
        direction = -1 if across > 0 else 1
        # All in a lane drive alike, or they would drive through one another.
        pace = direction * (drive.speed if own else float(generator.uniform(4, 12)))
        along = start + float(generator.uniform(0, 30))
        while along < end:
            if not own or abs(along) > FOLLOW_GAP:
                place = float(across + generator.normal(0, 0.15))
                pose = Pose(along, place, 0.0 if direction > 0 else np.pi)
                things.append(vehicle(generator, pose, speed=(pace, 0.0)))
            along += FOLLOW_GAP + float(generator.exponential(100 / density))
    return things


def across_the_road(generator: np.random.Generator, street: Street) -> list[Thing]:
    """Vehicles that wait in crossing streets, and pedestrians on the zebra crossings."""
    things = []
    for crossing in street.crossings:
        for side in (-1, 1):
            if generator.random() < 0.7:
                lane = float(crossing - side * street.crossing_half_width / 2)
                across = side * (street.half_width + 5.5 + float(generator.exponential(3)))
                things.append(vehicles.car(generator, Pose(lane, across, -side * np.pi / 2)))
        if generator.random() < 0.5:
            along = crossing + generator.choice([-1, 1]) * (street.crossing_half_width + 2.5)
            across = float(generator.uniform(0.2, 0.9)) * street.half_width
            things.append(
                people.pedestrian(generator, Pose(float(along), across, np.pi / 2), speed=(0.0, 1.2))
            )
    return things
