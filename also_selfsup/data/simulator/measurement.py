"""From first hits to what a lidar reports: strength of the return, losses, noise, windows in house fronts.

Letters: R rays of a turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.kinds import ROUGHNESS, Kind
from also_selfsup.data.simulator.parts import Shape
from also_selfsup.data.simulator.sensors import NOISE_PER_METRE, SensorModel

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Returns:
    """One turn of the sensor, a row per ray in firing order (R = C * K, rings lowest first).

    Shapes: distance (R,) with inf where nothing came back, strength (R,) where 1 is a white wall hit head-on and more
    is a retro-reflector, kind (R,), object (R,) with -1 for ground and nothing.
    """

    distance: Array
    strength: Array
    kind: NDArray[np.int64]
    object: NDArray[np.int64]


def incidence(
    parts: NDArray[Any], local: tuple[Array, Array, Array], turned: tuple[Array, Array, Array]
) -> Array:
    """Cosine (R,) between ray and surface normal at hits `local` (three (R,)) on parts (R,), all in the parts' frames."""
    half, taper = parts["half"], parts["taper"]
    x, y, z = local
    above = z + half[:, 2]
    zero, one = np.zeros_like(x), np.ones_like(x)
    slack = np.stack([
        half[:, 0] - x - taper[:, 0] * above, half[:, 0] + x - taper[:, 1] * above,
        half[:, 1] - np.abs(y) - taper[:, 2] * above, half[:, 2] - np.abs(z),
    ])  # fmt: skip
    faces = np.stack([
        np.stack([one, zero, taper[:, 0]]), np.stack([-one, zero, taper[:, 1]]),
        np.stack([zero, np.sign(y), taper[:, 2]]), np.stack([zero, zero, np.sign(z)]),
    ])  # fmt: skip
    normal = np.take_along_axis(faces, np.argmin(np.abs(slack), axis=0)[None, None], axis=0)[0]
    is_cap = half[:, 2] - np.abs(z) < 1e-3
    round_ = np.stack([x / half[:, 0] ** 2, y / half[:, 1] ** 2, z / half[:, 2] ** 2])
    barrel = np.stack([round_[0], round_[1], zero])
    barrel = np.where(is_cap, np.stack([zero, zero, one]), barrel)
    normal = np.where(parts["shape"] == Shape.ELLIPSOID, round_, normal)
    normal = np.where(parts["shape"] == Shape.CYLINDER, barrel, normal)
    length = np.sqrt((normal**2).sum(0)) + 1e-12
    cosine = np.abs(sum(n * d for n, d in zip(normal, turned, strict=True))) / length
    # A leaf faces anywhere.
    return np.where(parts["free_path"] > 0, np.float32(0.6), cosine).astype(np.float32)


def windows_of_houses(
    parts: NDArray[Any], local: tuple[Array, Array, Array], turned: tuple[Array, Array, Array]
) -> tuple[NDArray[np.bool_], Array]:
    """Which hits (R,) on house fronts fall on a window, and how much further the ray goes to reach its pane (R,)."""
    x, y, z = local
    half = parts["half"]
    end = half[:, 0] - np.abs(x) < 0.02
    place, facing = np.where(end, y, x), np.abs(np.where(end, turned[0], turned[1]))
    upright = half[:, 2] - np.abs(z) > 0.02
    large = (half[:, 2] > 1.4) & (np.where(end, half[:, 1], half[:, 0]) > 1.2)
    storey = np.mod(z + half[:, 2], 3.1)
    pane = (np.mod(place, 2.4) < 1.25) & (storey > 0.95) & (storey < 2.35) & upright & large
    pane &= parts["kind"] == Kind.BUILDING
    return pane, np.where(pane, 0.18 / np.maximum(facing, 0.25), 0).astype(np.float32)


def detect(
    distance: Array, reflectance: Array, cosine: Array, *, sensor: SensorModel, generator: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Strength (R,) of returns, and whether (R,) the sensor notices them.

    Strength falls with the angle of incidence (Lambert); what reaches the detector falls with the squared distance too.
    """
    retro = reflectance > 1
    strength = reflectance * np.where(retro, 0.4 + 0.6 * cosine, cosine)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.log(np.maximum(strength, 1e-6) / (np.maximum(distance, 1.0) ** 2 * sensor.sensitivity))
    chance = 1 / (1 + np.exp(-2 * np.nan_to_num(power, nan=-20).clip(-20, 20)))
    # Grain of surfaces and laser speckle: no two returns of one wall are equally strong.
    strength *= np.exp(0.4 * generator.standard_normal(len(strength), dtype=np.float32))
    seen = generator.random(len(distance), dtype=np.float32) < chance
    return strength.astype(np.float32), seen & (distance < sensor.max_range) & (distance > sensor.min_range)


def noisy(distance: Array, kind: NDArray[np.int64], sensor: SensorModel, generator: np.random.Generator) -> Array:
    """Distances (R,) as measured: the device's noise and errors, and the roughness of what was hit."""
    own = sensor.range_noise + NOISE_PER_METRE * np.where(np.isfinite(distance), distance, 0)
    deviation = np.hypot(own, ROUGHNESS[kind]).astype(np.float32)
    errors = np.tile(sensor.range_errors(), sensor.azimuth_steps)
    return distance + errors + deviation * generator.standard_normal(len(distance), dtype=np.float32)
