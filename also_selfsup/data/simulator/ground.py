"""The ground of the street: a winding, gently hilly road with crown, kerbs, pavements, verges and crossings.

World frame: x along the street, y to the left, z up; metres. `along` is x, `across` is y minus the street's
middle at that x. Letters: N points, R rays, J crossings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.arrays import Axes, Bools, Doubles, Floats, Ints
from also_selfsup.data.simulator.kinds import Kind

Reals = NDArray[np.floating[Any]]
MARCH_STEPS, BISECTIONS, STEEP = 16, 6, 8.0
BANK_DEPTH = 15.0  # metres behind the pavement over which the land rises or falls
UNEVEN = 0.07  # metres that grass rises and falls, at most


@dataclass(frozen=True)
class Street:
    """Shape and layout of one street; lengths in metres."""

    half_width: float  # of the carriageway, kerb to kerb
    lane_count: int
    parking: float  # width of the parking strip inside each kerb, 0: none
    verge: float  # grass between kerb and pavement
    pavement: float  # width
    setback: float  # of the house fronts behind the pavement
    kerb: float  # height
    bend: tuple[float, float, float]  # amplitude, wave length, phase of the street's middle line
    hills: tuple[float, float, float]  # the same of its height
    crossings: Doubles  # (J,) positions along of the crossing streets
    crossing_half_width: float
    paved_front: bool  # the ground behind the pavement is paved, not grass
    bank: float  # slope of the land behind the pavement
    asphalt: float  # reflectance
    paving: float  # reflectance of pavements

    def lanes(self) -> Doubles:
        """Middles of the lanes across, the rightmost first."""
        reach = self.half_width - self.parking
        middles: Doubles = reach * ((2 * np.arange(self.lane_count) + 1) / self.lane_count - 1)
        return middles

    def middle(self, along: Reals) -> Reals:
        """World y (N,) of the street's middle line."""
        amplitude, length, phase = self.bend
        y: Reals = amplitude * np.sin(along * (2 * np.pi / length) + phase)
        return y

    def heading(self, along: Doubles) -> Doubles:
        """Direction (N,) of the street, radians."""
        amplitude, length, phase = self.bend
        rate = 2 * np.pi / length
        yaw: Doubles = np.arctan(amplitude * rate * np.cos(along * rate + phase))
        return yaw

    def place(self, along: Doubles, across: Doubles) -> Doubles:
        """World positions (N, 3) on the ground."""
        y = self.middle(along) + across
        return np.stack([along, y, self.height(along, y)], axis=1)

    def beyond_kerb(self, along: Reals, across: Reals) -> Reals:
        """Metres (N,) outside the nearest carriageway; negative on it."""
        beyond: Reals = np.abs(across) - self.half_width
        for crossing in self.crossings.tolist():
            beyond = np.minimum(beyond, np.abs(along - crossing) - self.crossing_half_width)
        return beyond

    def height(self, x: Reals, y: Reals) -> Reals:
        """Height (N,) of the ground at world x, y."""
        across = y - self.middle(x)
        beyond = self.beyond_kerb(x, across)
        amplitude, length, phase = self.hills
        level = amplitude * np.sin(x * (2 * np.pi / length) + phase)
        crown = np.maximum(self.half_width - np.abs(across), 0) * 0.02
        step = np.clip(beyond * (1 / 0.04), 0, 1) * self.kerb
        behind = np.maximum(beyond - self.verge - self.pavement, 0)
        bank = np.minimum(behind, BANK_DEPTH) * self.bank
        # Waves bent by waves: no two places are alike, at the price of four sines (they count in the ray
        # march).
        waves = np.sin(0.9 * x + 1.7 * np.sin(0.31 * y)) * np.sin(0.7 * y + 1.9 * np.sin(0.23 * x))
        uneven = np.minimum(0.012 + behind * 0.04, 0.02 if self.paved_front else UNEVEN)
        height: Reals = level + crown + step + bank + uneven * waves
        return height

    def bounds(self) -> tuple[float, float]:
        """Heights between which all ground lies."""
        swing, bank = abs(self.hills[0]) + UNEVEN, self.bank * BANK_DEPTH
        return -swing + min(bank, 0), swing + self.half_width * 0.02 + self.kerb + max(bank, 0)

    def surface(self, x: Reals, y: Reals) -> tuple[Ints, Floats]:
        """Kind and reflectance (N,) of the ground at world x, y."""
        across = y - self.middle(x)
        beyond = self.beyond_kerb(x, across)
        end = self.verge + self.pavement
        kind = np.select(
            [self._painted(x, across), beyond <= 0, beyond < 0.15, beyond < self.verge, beyond < end],
            [Kind.LANE_MARKING, Kind.ROAD, Kind.SIDEWALK, Kind.TERRAIN, Kind.SIDEWALK],
            Kind.OTHER_GROUND if self.paved_front else Kind.TERRAIN,
        )
        base = np.zeros(len(Kind))
        base[[Kind.ROAD, Kind.LANE_MARKING, Kind.SIDEWALK]] = self.asphalt, 3 * self.asphalt, self.paving
        base[[Kind.TERRAIN, Kind.OTHER_GROUND]] = 0.35, self.paving * 0.8
        patches = 1 + 0.25 * np.sin(x * 0.35 + 1.3 * np.sin(y * 0.21)) * np.sin(y * 0.47)
        return kind.astype(np.int64), (base[kind] * patches).astype(np.float32)

    def _painted(self, along: Reals, across: Reals) -> Bools:
        """Whether (N,) there is a lane marking or a zebra crossing."""
        lanes = self.half_width - self.parking
        spacing = 2 * lanes / self.lane_count
        number = (across + lanes) / spacing
        dashed = (np.abs(number - np.round(number)) * spacing < 0.09) & (np.mod(along, 9.0) < 4.0)
        solid = np.abs(np.abs(across) - lanes) < 0.08
        painted: Bools = (dashed | solid) & (np.abs(across) < lanes + 0.1)
        for crossing in self.crossings.tolist():
            distance = np.abs(along - crossing) - self.crossing_half_width
            zebra = (distance > 1.0) & (np.mod(across, 1.0) < 0.5) & (np.abs(across) < self.half_width - 0.3)
            painted = np.where(distance < 4.0, zebra, painted)
        return painted


def first_ground(street: Street, origin: Doubles, *, directions: Axes, reach: float) -> Floats:
    """Distance (R,) at which rays meet the ground, inf where they do not within `reach` metres.

    Args:
        street: The ground.
        origin: World position (3,) of the sensor.
        directions: Unit directions (R,) along the world's axes.
        reach: Metres.
    """
    low, high = street.bounds()
    sloped = np.where(np.abs(directions[2]) < 1e-6, np.float32(-1e-6), directions[2])
    ends = np.stack([(high - origin[2]) / sloped, (low - origin[2]) / sloped])
    start, stop = np.clip(ends.min(0), 0, reach), np.clip(ends.max(0), 0, reach)
    rays = np.flatnonzero(stop > start)
    x, y, z = (axis[rays] for axis in directions)
    place = origin.astype(np.float32)

    def above(t: Floats, chosen: Ints) -> Floats:
        ground = street.height(place[0] + t * x[chosen], place[1] + t * y[chosen])
        gap: Floats = (place[2] + t * z[chosen] - ground).astype(np.float32)
        return gap

    met, near, far = _march(above, start[rays].astype(np.float32), stop=stop[rays].astype(np.float32))
    for _ in range(BISECTIONS):
        t = (near + far) / 2
        below = above(t, met) < 0
        near, far = np.where(below, near, t), np.where(below, t, far)
    distance = np.full(len(directions[0]), np.inf, dtype=np.float32)
    near_gap, far_gap = above(near, met), above(far, met)
    distance[rays[met]] = near + (far - near) * near_gap / np.maximum(near_gap - far_gap, 1e-9)
    return distance


def _march(
    above: Callable[[Floats, Ints], Floats], start: Floats, *, stop: Floats
) -> tuple[Ints, Floats, Floats]:
    """Rays that get below the ground on their way, last distance above it, first distance below."""
    # Steep rays cross the little height between the lowest and the highest ground in a few metres.
    steps = np.where(stop - start < STEEP, MARCH_STEPS // 2, MARCH_STEPS)
    step = ((stop - start) / steps).astype(np.float32)
    near, far, open_ = start.copy(), np.full_like(start, np.inf), np.arange(len(start))
    for count in range(1, MARCH_STEPS + 1):
        t = start[open_] + step[open_] * np.float32(count)
        below = above(t, open_) < 0
        far[open_[below]] = t[below]
        near[open_[~below]] = t[~below]
        open_ = open_[~below & (steps[open_] > count)]
    met = np.flatnonzero(np.isfinite(far))
    return met, near[met], far[met]
