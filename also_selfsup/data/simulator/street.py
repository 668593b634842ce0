"""What stands along the street, drawn at random: houses, trees, street furniture, parked vehicles, people.

Side +1 is the left of the ego vehicle's direction (it drives on the right, the traffic on the left comes
towards it). Metres, seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.parts import Pose, Thing
from also_selfsup.data.simulator.things import buildings, furniture, people, plants, vehicles

# How far the world reaches behind and ahead of the drive: a lidar's range.
REACH = 110.0


@dataclass(frozen=True)
class Character:
    """What sort of neighbourhood it is."""

    tall: float  # mean height of houses
    gap: float  # chance of an empty lot
    trees: float  # trees per 100 m and side
    parked: float  # chance that a parking place is taken
    traffic: float  # vehicles per 100 m and lane
    walkers: float  # pedestrians per 100 m and side
    yards: bool  # front gardens with walls and hedges


CHARACTERS: tuple[Character, ...] = (
    Character(tall=16, gap=0.12, trees=6, parked=0.75, traffic=2.2, walkers=5, yards=False),
    Character(tall=7, gap=0.3, trees=8, parked=0.55, traffic=1.2, walkers=1.5, yards=True),
    Character(tall=11, gap=0.5, trees=11, parked=0.4, traffic=2.5, walkers=2, yards=False),
    Character(tall=5, gap=0.8, trees=13, parked=0.25, traffic=1.8, walkers=0.7, yards=True),
)


def lay_out(generator: np.random.Generator, character: Character, *, start: float, end: float) -> Street:
    """Draw the shape of the street."""
    draw: Callable[[float, float], float] = lambda low, high: float(generator.uniform(low, high))  # noqa: E731
    lanes, parking = int(generator.choice([2, 2, 4])), float(generator.choice([0.0, 2.2], p=[0.3, 0.7]))
    banked = character.yards or generator.random() < 0.3
    return Street(
        half_width=lanes * draw(3.2, 3.6) / 2 + parking,
        lane_count=lanes,
        parking=parking,
        verge=float(generator.choice([0.0, 1.2, 2.5], p=[0.5, 0.3, 0.2])),
        pavement=draw(1.8, 4.0),
        setback=draw(4, 9) if character.yards else draw(0.2, 2),
        kerb=draw(0.1, 0.17),
        bend=(draw(0, 4), draw(180, 320), draw(0, 6.28)),
        hills=(draw(0, 0.8), draw(160, 300), draw(0, 6.28)),
        crossings=np.arange(start + draw(10, 90), end, draw(70, 140)),
        crossing_half_width=draw(3.2, 6),
        paved_front=not character.yards and bool(generator.random() < 0.6),
        bank=draw(-0.06, 0.12) if banked else 0.0,
        asphalt=draw(0.1, 0.32),
        paving=float(generator.lognormal(-1.1, 0.45)),
    )


class StreetBuilder:
    """Places things along one street; each method answers what it placed on one side."""

    def __init__(
        self,
        generator: np.random.Generator,
        street: Street,
        *,
        character: Character,
        start: float,
        end: float,
    ) -> None:
        self.generator, self.street, self.character = generator, street, character
        self.start, self.end = start, end
        self.front = street.half_width + street.verge + street.pavement + street.setback

    def draw(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(self.generator.uniform(low, high))

    def spots(self, per_100_m: float) -> list[float]:
        """Random positions along the street, away from crossings."""
        count = self.generator.poisson((self.end - self.start) / 100 * per_100_m)
        places = self.generator.uniform(self.start, self.end, count)
        return [float(place) for place in places if self.clear(place, room=1.5)]

    def clear(self, along: float, *, room: float) -> bool:
        """Whether a place is at least `room` metres from every crossing street."""
        return bool(np.all(np.abs(self.street.crossings - along) > self.street.crossing_half_width + room))

    def house(self, along: float, *, front: float, length: float, taller: float = 1.0) -> Thing:
        """A house of this neighbourhood."""
        tall = self.character.tall * taller
        return buildings.building(self.generator, along, front=front, length=length, tall=tall)

    def houses(self, side: int) -> list[Thing]:
        """A row of houses with gaps at crossings and empty lots, and houses at the far end of those gaps."""
        things, along = [], self.start
        while along < self.end:
            length = self.draw(9, 26)
            room = length / 2 + self.street.verge + self.street.pavement
            if self.clear(along + length / 2, room=room) and self.generator.random() > self.character.gap:
                front = side * (self.front + self.draw(0, 0.8))
                things.append(self.house(along + length / 2, front=front, length=length))
            along += length + (self.draw(1, 6) if self.generator.random() < 0.3 else 0.05)
        for crossing in self.street.crossings:
            for flank in (-1, 1):
                place = float(crossing + flank * (self.street.crossing_half_width + self.draw(9, 12)))
                things.append(self.house(place, front=side * (self.front + 22), length=12))
        return things

    def backdrop(self, side: int) -> list[Thing]:
        """A second row of houses and trees, seen through the gaps."""
        things = []
        for along in np.arange(self.start, self.end, 24.0):
            depth, style = self.front + self.draw(22, 45), self.generator.random()
            if style < 0.25:
                things.append(self.house(float(along), front=side * depth, length=20, taller=1.3))
            elif style < 0.55:
                places = [Pose(float(along) + 8 * k, side * (depth + 4 * k - 15)) for k in range(3)]
                things += [plants.tree(self.generator, place) for place in places]
        return things

    def greenery(self, side: int) -> list[Thing]:
        """Street trees in a row; in front gardens trees, bushes, hedges and walls."""
        street, make = self.street, self.generator
        row = side * (street.half_width + (street.verge / 2 if street.verge else 0.8))
        things = [plants.tree(make, Pose(s, row)) for s in self.spots(self.character.trees)]
        if not self.character.yards:
            return things
        edge, deep = self.front - street.setback + 0.5, self.front + 12
        things += [plants.bush(make, Pose(s, side * self.draw(edge, self.front + 3))) for s in self.spots(8)]
        things += [plants.tree(make, Pose(s, side * self.draw(edge + 1, deep))) for s in self.spots(4)]
        things += [plants.hedge(make, Pose(s, side * edge), length=self.draw(4, 12)) for s in self.spots(3)]
        return things + [
            buildings.wall(make, Pose(s, side * (edge - 0.3)), length=self.draw(4, 15)) for s in self.spots(2)
        ]

    def furniture(self, side: int) -> list[Thing]:
        """Lamps, signs, bollards, bins; traffic lights at crossings; now and then roadworks."""
        street, make, kerb = self.street, self.generator, side * (self.street.half_width + 0.5)
        lamps = [
            float(s) for s in np.arange(self.start + 5 * side, self.end, 32) if self.clear(float(s), room=1)
        ]
        things = [furniture.lamp(make, Pose(s, kerb)) for s in lamps]
        things += [furniture.sign(make, Pose(s, kerb)) for s in self.spots(4)]
        things += [furniture.bollard(Pose(s, kerb)) for s in self.spots(1.5)]
        things += [furniture.clutter(make, Pose(s, kerb + side * self.draw(0.4, 1.5))) for s in self.spots(2)]
        for crossing in street.crossings:
            place = float(crossing + side * (street.crossing_half_width + 1.2))
            things.append(furniture.traffic_light(make, Pose(place, kerb)))
        if street.parking and make.random() < 0.35:
            place = self.draw(self.start + 60, self.end - 60)
            things += furniture.roadworks(make, Pose(place, side * (street.half_width - 0.9)))
        return things

    def parked(self, side: int) -> list[Thing]:
        """Vehicles at the kerb, cycles on the pavement, trailers and diggers on empty lots."""
        street, make, yaw = self.street, self.generator, np.pi if side > 0 else 0.0
        things = []
        for along in np.arange(self.start, self.end, 5.9) if street.parking else []:
            if make.random() < self.character.parked and self.clear(float(along), room=6):
                across = side * (street.half_width - 1.1) + float(make.normal(0, 0.08))
                pose = Pose(float(along) + self.draw(-0.3, 0.3), across, yaw + float(make.normal(0, 0.02)))
                things.append(vehicles.car(make, pose))
        for along in self.spots(1.5):
            maker = people.bicycle if make.random() < 0.6 else people.motorcycle
            across = side * (street.half_width + self.draw(0.6, 1.2))
            things.append(maker(make, Pose(along, across, self.draw(0, 3))))
        for along in self.spots(0.6) if self.character.gap > 0.2 else []:
            bulky = vehicles.trailer if make.random() < 0.5 else vehicles.digger
            things.append(bulky(make, Pose(along, side * (self.front + 1.8), yaw)))
        return things

    def walkers(self, side: int) -> list[Thing]:
        """Pedestrians on the pavement, some of them standing."""
        street, things = self.street, []
        for along in self.spots(self.character.walkers):
            across = side * (street.half_width + street.verge + self.draw(0.4, street.pavement - 0.3))
            pace = float(self.generator.choice([0.0, -1.3, 1.3], p=[0.3, 0.35, 0.35])) * self.draw(0.7, 1.2)
            pose = Pose(along, across, np.pi if pace < 0 else 0.0)
            things.append(people.pedestrian(self.generator, pose, speed=(pace, 0.0)))
        return things


def furnish(
    generator: np.random.Generator, street: Street, *, character: Character, start: float, end: float
) -> list[Thing]:
    """Everything that stands beside the carriageway, on both sides."""
    build = StreetBuilder(generator, street, character=character, start=start, end=end)
    things: list[Thing] = []
    for side in (-1, 1):
        things += build.houses(side) + build.backdrop(side) + build.greenery(side)
        things += build.furniture(side) + build.parked(side) + build.walkers(side)
    return things
