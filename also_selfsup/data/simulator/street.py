"""A scene: one street with everything on it, drawn at random from a generator.

Side +1 is the left of the ego vehicle's direction (its own lane is on the right, the traffic on the left comes towards
it). Metres, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.parts import Thing
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
    traffic: float  # vehicles per 100 m and direction
    walkers: float  # pedestrians per 100 m and side
    yards: bool  # front gardens with walls and hedges


CHARACTERS: tuple[Character, ...] = (
    Character(tall=16, gap=0.12, trees=6, parked=0.65, traffic=2.2, walkers=5, yards=False),
    Character(tall=7, gap=0.3, trees=8, parked=0.45, traffic=1.2, walkers=1.5, yards=True),
    Character(tall=11, gap=0.5, trees=11, parked=0.3, traffic=2.5, walkers=2, yards=False),
    Character(tall=5, gap=0.8, trees=13, parked=0.15, traffic=1.8, walkers=0.7, yards=True),
)


def lay_out(generator: np.random.Generator, character: Character, start: float, end: float) -> Street:
    """Draw the shape of the street."""
    lanes = int(generator.choice([2, 2, 4]))
    parking = float(generator.choice([0.0, 2.2], p=[0.3, 0.7]))
    first = start + generator.uniform(10, 90)
    crossings = np.arange(first, end, generator.uniform(70, 140))
    return Street(
        half_width=lanes * float(generator.uniform(3.0, 3.5)) / 2 + parking, lane_count=lanes, parking=parking,
        verge=float(generator.choice([0.0, 1.2, 2.5], p=[0.5, 0.3, 0.2])), pavement=float(generator.uniform(1.8, 4.0)),
        setback=float(generator.uniform(4, 9)) if character.yards else float(generator.uniform(0.2, 2)),
        kerb=float(generator.uniform(0.1, 0.17)),
        bend=(float(generator.uniform(0, 4)), float(generator.uniform(180, 320)), float(generator.uniform(0, 6.28))),
        hills=(float(generator.uniform(0, 0.8)), float(generator.uniform(160, 300)), float(generator.uniform(0, 6.28))),
        crossings=crossings, crossing_half_width=float(generator.uniform(3.2, 6)),
        paved_front=not character.yards and bool(generator.random() < 0.6), asphalt=float(generator.uniform(0.1, 0.32)),
        paving=float(generator.lognormal(-1.1, 0.45)), bank=float(generator.uniform(-0.06, 0.12)) if character.yards or generator.random() < 0.3 else 0.0,
    )  # fmt: skip


class StreetBuilder:
    """Places things along one street; each method answers what it placed."""

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

    def spots(self, per_100_m: float) -> list[float]:
        """Random positions along the street, away from crossings."""
        count = self.generator.poisson((self.end - self.start) / 100 * per_100_m)
        return [s for s in self.generator.uniform(self.start, self.end, count) if self.clear(s, 1.5)]

    def clear(self, along: float, room: float) -> bool:
        """Whether a place is at least `room` metres from every crossing street."""
        crossings = self.street.crossings
        return (
            bool(np.all(np.abs(crossings - along) > self.street.crossing_half_width + room))
            if len(crossings)
            else True
        )

    def houses(self, side: int) -> list[Thing]:
        """A row of houses with gaps at crossings and empty lots, and houses down the crossing streets."""
        things, along, draw = [], self.start, self.generator
        while along < self.end:
            length = float(draw.uniform(9, 26))
            room = length / 2 + self.street.verge + self.street.pavement
            if self.clear(along + length / 2, room) and draw.random() > self.character.gap:
                front = side * (self.front + draw.uniform(0, 0.8))
                things.append(
                    buildings.building(draw, along + length / 2, front, length, tall=self.character.tall)
                )
            along += length + (float(draw.uniform(1, 6)) if draw.random() < 0.3 else 0.05)
        for crossing in self.street.crossings:
            for flank in (-1, 1):
                place = crossing + flank * (self.street.crossing_half_width + 3 + draw.uniform(6, 9))
                things.append(
                    buildings.building(draw, place, side * (self.front + 22), 12, tall=self.character.tall)
                )
        return things

    def backdrop(self, side: int) -> list[Thing]:
        """A second row of houses and trees behind, seen through the gaps."""
        things = []
        for along in np.arange(self.start, self.end, 24.0):
            depth = self.front + self.generator.uniform(22, 45)
            style = self.generator.random()
            if style < 0.25:
                things.append(
                    buildings.building(
                        self.generator, along, side * depth, 20, tall=self.character.tall * 1.3
                    )
                )
            else:
                things += [
                    plants.tree(self.generator, along + 8 * k, side * (depth + 4 * k - 15)) for k in range(3)
                ]
        return things

    def greenery(self, side: int) -> list[Thing]:
        """Street trees in a row, bushes, hedges and walls in front of houses."""
        street, draw = self.street, self.generator
        row = street.half_width + (street.verge / 2 if street.verge else 0.8)
        things = [plants.tree(draw, s, side * row) for s in self.spots(self.character.trees)]
        behind = self.front - street.setback + 0.5
        if not self.character.yards:
            return things
        things += [plants.bush(draw, s, side * draw.uniform(behind, self.front + 3)) for s in self.spots(5)]
        things += [
            plants.tree(draw, s, side * draw.uniform(behind + 1, self.front + 12)) for s in self.spots(4)
        ]
        things += [plants.hedge(draw, s, side * behind, draw.uniform(4, 12)) for s in self.spots(2)]
        return things + [
            buildings.wall(draw, s, side * (behind - 0.3), draw.uniform(4, 15)) for s in self.spots(2)
        ]

    def furniture(self, side: int) -> list[Thing]:
        """Lamps, signs, bollards, bins; traffic lights at crossings; now and then roadworks."""
        draw, kerb = self.generator, side * (self.street.half_width + 0.5)
        things = [
            furniture.lamp(draw, s, kerb)
            for s in np.arange(self.start + 5 * side, self.end, 32)
            if self.clear(s, 1)
        ]
        things += [furniture.sign(draw, s, kerb) for s in self.spots(4)]
        things += [furniture.bollard(s, kerb) for s in self.spots(1.5)]
        things += [
            furniture.bin_(draw, s, side * (self.street.half_width + draw.uniform(0.8, 2.0)))
            for s in self.spots(2)
        ]
        for crossing in self.street.crossings:
            things.append(
                furniture.traffic_light(draw, crossing + side * (self.street.crossing_half_width + 1.2), kerb)
            )
        if draw.random() < 0.3:
            across = side * (self.street.half_width - 0.6)
            things += furniture.roadworks(draw, float(draw.uniform(self.start + 60, self.end - 60)), across)
        return things

    def parked(self, side: int) -> list[Thing]:
        """Vehicles at the kerb, and bicycles and motorcycles on the pavement."""
        draw, street = self.generator, self.street
        things = []
        yaw = np.pi if side > 0 else 0.0
        across = side * (street.half_width - 1.1)
        for along in np.arange(self.start, self.end, 5.9) if street.parking else []:
            if draw.random() < self.character.parked and self.clear(along, 6):
                pose = (
                    along + draw.uniform(-0.3, 0.3),
                    across + draw.normal(0, 0.08),
                    yaw + draw.normal(0, 0.02),
                )
                things.append(vehicles.car(draw, pose))
        for along in self.spots(1.2):
            maker = people.bicycle if draw.random() < 0.6 else people.motorcycle
            things.append(
                maker(draw, (along, side * (street.half_width + draw.uniform(0.6, 1.2)), draw.uniform(0, 3)))
            )
        for along in self.spots(0.5):
            maker_big = vehicles.trailer if draw.random() < 0.5 else vehicles.digger
            if not street.parking:
                things.append(maker_big(draw, (along, side * (self.front + 1.5), yaw)))
        return things

    def walkers(self, side: int) -> list[Thing]:
        """Pedestrians on the pavement, some standing in groups."""
        draw, street = self.generator, self.street
        things = []
        for along in self.spots(self.character.walkers):
            across = side * (street.half_width + street.verge + draw.uniform(0.4, street.pavement - 0.3))
            pace = float(draw.choice([0.0, -1.3, 1.3], p=[0.3, 0.35, 0.35]) * draw.uniform(0.7, 1.2))
            pose = (along, across, float(np.where(pace < 0, np.pi, 0.0)))
            things.append(people.pedestrian(draw, pose, (pace, 0.0)))
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
