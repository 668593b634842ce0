"""Sensor models: in which directions a lidar looks, how far, how exactly, and how it writes what it saw.

A sensor's grid has C columns (azimuth steps, in firing order) of K rings (beams, the lowest first).
Sensor frame as in the real data: nuScenes' HDL-32E has y to the front and x to the right, ONCE's Pandar40 y
to the back and x to the left, the others x to the front.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from also_selfsup.data.simulator.arrays import Axes, Doubles, Floats

NOISE_PER_METRE = 0.0003


@dataclass(frozen=True)
class SensorModel:
    """One lidar; angles in degrees, lengths in metres."""

    name: str
    elevations: tuple[float, ...]  # of the beams, rising
    azimuth_steps: int
    azimuth_start: float
    azimuth_span: float  # negative: turns clockwise seen from above; +-360: all round
    height: float  # above the ground
    forward: float  # in front of the vehicle's rear axle
    front_azimuth: float  # azimuth of the vehicle's front in the sensor frame
    min_range: float
    max_range: float
    range_noise: float  # standard deviation near the sensor; it grows by `NOISE_PER_METRE`
    ring_bias: float  # standard deviation of each beam's own constant error of range
    azimuth_noise: float
    sensitivity: float  # weakest return, as strength over squared range, that is noticed half of the time
    turn_time: float  # seconds for a full grid
    keeps_nothing: bool  # measurements without a return stay in the file, as points near the origin
    column_major: (
        bool  # in the file all rings of a column come together (else all columns of a ring, highest first)
    )

    @property
    def ring_count(self) -> int:
        """Number K of beams."""
        return len(self.elevations)

    @property
    def wraps(self) -> bool:
        """Whether the grid goes all round."""
        return abs(self.azimuth_span) >= 360

    def columns(self) -> Doubles:
        """Azimuth (C,) of each column, radians, in firing order."""
        step = self.azimuth_span / self.azimuth_steps
        azimuth: Doubles = np.radians(self.azimuth_start + step * np.arange(self.azimuth_steps))
        return azimuth

    def directions(self, generator: np.random.Generator) -> Axes:
        """Unit directions (C * K,), ring after ring of a column, with this turn's jitter."""
        jitter = generator.normal(0, np.radians(self.azimuth_noise), self.azimuth_steps)
        azimuth = (self.columns() + jitter)[:, None]
        elevation = np.radians(np.array(self.elevations))[None]
        level = np.cos(elevation)
        x, y = np.cos(azimuth) * level, np.sin(azimuth) * level
        z = np.broadcast_to(np.sin(elevation), x.shape)
        return x.ravel().astype(np.float32), y.ravel().astype(np.float32), z.ravel().astype(np.float32)

    def range_errors(self) -> Floats:
        """Constant error of range (K,) of each beam: a property of the device, the same in every scan."""
        return np.random.default_rng(32).normal(0, self.ring_bias, self.ring_count).astype(np.float32)

    def with_columns(self, count: int | None) -> SensorModel:
        """The same sensor with another number of azimuth steps (fewer for quick tests)."""
        return self if count is None else replace(self, azimuth_steps=count)


def _rising(*spans: tuple[float, float, int]) -> tuple[float, ...]:
    return tuple(float(v) for low, high, count in spans for v in np.linspace(low, high, count))


HDL32E = SensorModel(
    name="hdl32e", elevations=_rising((-30.67, 10.67, 32)), azimuth_steps=1084, azimuth_start=180.0,
    azimuth_span=-360.0, height=1.84, forward=0.94, front_azimuth=90.0, min_range=0.4, max_range=105.0,
    range_noise=0.004, ring_bias=0.01, azimuth_noise=0.01, sensitivity=2.5e-5, turn_time=0.05,
    keeps_nothing=True, column_major=True,
)  # fmt: skip
HDL64E = SensorModel(
    name="hdl64e", elevations=_rising((-24.33, -8.83, 32), (-8.33, 2.0, 32)), azimuth_steps=2083,
    azimuth_start=0.0, azimuth_span=360.0, height=1.73, forward=0.76, front_azimuth=0.0, min_range=1.3,
    max_range=80.0, range_noise=0.006, ring_bias=0.01, azimuth_noise=0.01, sensitivity=3e-6, turn_time=0.1,
    keeps_nothing=False, column_major=False,
)  # fmt: skip
SOLID_STATE = SensorModel(
    name="solid_state", elevations=_rising((-12.5, 12.5, 126)), azimuth_steps=600, azimuth_start=60.0,
    azimuth_span=-120.0, height=1.6, forward=1.5, front_azimuth=0.0, min_range=0.5, max_range=150.0,
    range_noise=0.01, ring_bias=0.0, azimuth_noise=0.02, sensitivity=1.5e-6, turn_time=0.1,
    keeps_nothing=False, column_major=True,
)  # fmt: skip
# Forty beams, dense about the horizon. ONCE's has x to the left and y to the back.
PANDAR40 = SensorModel(
    name="pandar40", elevations=_rising((-25, -19, 2), (-14, -7, 8), (-6, 2, 25), (3, 15, 5)),
    azimuth_steps=1800, azimuth_start=0.0,
    azimuth_span=-360.0, height=1.85, forward=1.0, front_azimuth=-90.0, min_range=0.3, max_range=200.0,
    range_noise=0.01, ring_bias=0.005, azimuth_noise=0.01, sensitivity=5e-7, turn_time=0.1,
    keeps_nothing=False, column_major=True,
)  # fmt: skip
PANDORA = SensorModel(
    name="pandora", elevations=_rising((-16, -7, 10), (-6, 2, 25), (3, 7, 5)), azimuth_steps=1800,
    azimuth_start=0.0, azimuth_span=-360.0, height=1.7, forward=0.9, front_azimuth=0.0, min_range=0.5,
    max_range=200.0, range_noise=0.01, ring_bias=0.005, azimuth_noise=0.01, sensitivity=1e-6, turn_time=0.1,
    keeps_nothing=False, column_major=True,
)  # fmt: skip

SENSORS: dict[str, SensorModel] = {
    sensor.name: sensor for sensor in (HDL32E, HDL64E, SOLID_STATE, PANDAR40, PANDORA)
}
