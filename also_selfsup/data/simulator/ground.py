"""The ground of the street: a winding, gently hilly road with crown, kerbs, pavements, verges and crossings.

World frame: x along the street at its start, y to the left, z up; metres. `along` is x, `across` is y minus the
street's middle at that x. Letters: N points, R rays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.kinds import Kind

Floats = NDArray[np.float32]
MARCH_STEPS = 16
BISECTIONS = 6
BANK_DEPTH = 15.0  # metres behind the pavement over which the land rises or falls


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
    crossings: NDArray[np.float64]  # (J,) positions along of the crossing streets
    crossing_half_width: float
    paved_front: bool  # the ground behind the pavement is paved, not grass
    bank: float  # slope of the land behind the pavement
    asphalt: float  # reflectance
    paving: float  # reflectance of pavements

    def middle(self, along: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where (N,) the street's middle line runs."""
        amplitude, length, phase = self.bend
        return amplitude * np.sin(along * (2 * np.pi / length) + phase)

    def heading(self, along: NDArray[np.float64]) -> NDArray[np.float64]:
        """Direction (N,) of the street, radians."""
        amplitude, length, phase = self.bend
        rate = 2 * np.pi / length
        return np.arctan(amplitude * rate * np.cos(along * rate + phase))

    def place(self, along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
        """World positions (N, 3) on the ground."""
        y = self.middle(along) + across
        return np.stack([along, y, self.height(along, y)], axis=1)

    def beyond_kerb(self, along: NDArray[np.floating], across: NDArray[np.floating]) -> NDArray[np.floating]:
        """Metres (N,) outside the nearest carriageway; negative on it."""
        beyond = np.abs(across) - self.half_width
        for crossing in self.crossings:
            beyond = np.minimum(beyond, np.abs(along - crossing) - self.crossing_half_width)
        return beyond

    def height(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
        """Height (N,) of the ground at world x, y."""
        across = y - self.middle(x)
        beyond = self.beyond_kerb(x, across)
        amplitude, length, phase = self.hills
        level = amplitude * np.sin(x * (2 * np.pi / length) + phase)
        crown = np.maximum(self.half_width - np.abs(across), 0) * 0.02
        step = np.clip(beyond * (1 / 0.04), 0, 1) * self.kerb
        behind = np.maximum(beyond - self.verge - self.pavement, 0)
        bank = np.minimum(behind, BANK_DEPTH) * self.bank
        # Waves bent by waves: no two places are alike, at the price of four sines (they count in the ray march).
        waves = np.sin(0.9 * x + 1.7 * np.sin(0.31 * y)) * np.sin(0.7 * y + 1.9 * np.sin(0.23 * x))
        uneven = np.minimum(0.012 + behind * 0.04, 0.02 if self.paved_front else 0.07)
        return level + crown + step + bank + uneven * waves

    def bounds(self) -> tuple[float, float]:
        """Heights between which all ground lies."""
        rise, bank = abs(self.hills[0]) + 0.08, self.bank * BANK_DEPTH
        return -rise + min(bank, 0), rise + self.half_width * 0.02 + self.kerb + max(bank, 0)

    def surface(self, x: Floats, y: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Kind and reflectance (N,) of the ground at world x, y."""
        across = y - self.middle(x)
        beyond = self.beyond_kerb(x, across)
        walk_start, walk_end = self.verge, self.verge + self.pavement
        front = Kind.OTHER_GROUND if self.paved_front else Kind.TERRAIN
        kind = np.select(
            [beyond <= 0, beyond < 0.15, beyond < walk_start, beyond < walk_end],
            [Kind.ROAD, Kind.SIDEWALK, Kind.TERRAIN, Kind.SIDEWALK],
            front,
        )
        kind = np.where(self._painted(x, across), Kind.LANE_MARKING, kind).astype(np.int64)
        patches = 1 + 0.25 * np.sin(x * 0.35 + 1.3 * np.sin(y * 0.21)) * np.sin(y * 0.47)
        base = np.zeros(len(Kind))
        base[[Kind.ROAD, Kind.LANE_MARKING, Kind.SIDEWALK]] = (
            self.asphalt,
            3 * self.asphalt,
            self.asphalt * 1.5,
        )
        base[[Kind.TERRAIN, Kind.OTHER_GROUND]] = 0.35, self.paving * 0.8
        return kind, (base[kind] * patches).astype(np.float32)

    def _painted(self, along: NDArray[np.floating], across: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether (N,) there is a lane marking or a zebra crossing."""
        lanes = self.half_width - self.parking
        spacing = 2 * lanes / self.lane_count
        offset = np.abs((across + lanes) / spacing - np.round((across + lanes) / spacing)) * spacing
        dashed = (offset < 0.09) & (np.mod(along, 9.0) < 4.0)
        solid = np.abs(np.abs(across) - lanes) < 0.08
        painted = (dashed | solid) & (np.abs(across) < lanes + 0.1)
        for crossing in self.crossings:
            distance = np.abs(along - crossing) - self.crossing_half_width
            zebra = (distance > 1.0) & (distance < 4.0) & (np.mod(across, 1.0) < 0.5)
            painted = np.where(distance < 4.0, zebra & (np.abs(across) < self.half_width - 0.3), painted)
        return painted


def first_ground(
    street: Street, origin: NDArray[np.float64], directions: tuple[Floats, Floats, Floats], reach: float
) -> Floats:
    """Distance (R,) at which rays meet the ground, inf where they do not within `reach`.

    Args:
        street: The ground.
        origin: World position (3,) of the sensor.
        directions: Unit directions as x, y, z of (R,) each, along the world's axes.
        reach: Metres.
    """
    x, y, z = directions
    low, high = street.bounds()
    sloped = np.where(np.abs(z) < 1e-6, np.float32(-1e-6), z)
    ends = np.stack([(high - origin[2]) / sloped, (low - origin[2]) / sloped]).astype(np.float32)
    start, stop = np.clip(ends.min(0), 0, reach), np.clip(ends.max(0), 0, reach)
    rays = np.flatnonzero(stop > start)
    x, y, z, start, stop = x[rays], y[rays], z[rays], start[rays], stop[rays]
    ox, oy, oz = np.float32(origin)

    def above(t: Floats, chosen: slice | NDArray[np.int64] = slice(None)) -> Floats:
        ground = street.height(ox + t * x[chosen], oy + t * y[chosen])
        return (oz + t * z[chosen] - ground).astype(np.float32)

    step = (stop - start) / MARCH_STEPS
    near, far, open_ = start.copy(), np.full_like(start, np.inf), np.arange(len(start))
    for count in range(1, MARCH_STEPS + 1):
        t = start[open_] + step[open_] * count
        below = above(t, open_) < 0
        far[open_[below]] = t[below]
        near[open_[~below]] = t[~below]
        open_ = open_[~below]
    met = np.flatnonzero(np.isfinite(far))
    near, far = near[met], far[met]
    for _ in range(BISECTIONS):
        t = (near + far) / 2
        below = above(t, met) < 0
        near, far = np.where(below, near, t), np.where(below, t, far)
    distance = np.full(len(directions[0]), np.inf, dtype=np.float32)
    near_gap, far_gap = above(near, met), above(far, met)
    distance[rays[met]] = near + (far - near) * near_gap / np.maximum(near_gap - far_gap, 1e-9)
    return distance
