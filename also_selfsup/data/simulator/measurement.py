"""From first hits to what a lidar reports: strength of the return, losses, noise, windows in house fronts.

Letters: R rays of a turn, N rays that hit a part, G rays that hit the ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.arrays import Axes, Bools, Floats, Ints
from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.kinds import ROUGHNESS, Kind
from also_selfsup.data.simulator.parts import LocalFrames, Shape, picked
from also_selfsup.data.simulator.raycast import Nearest
from also_selfsup.data.simulator.sensors import NOISE_PER_METRE, SensorModel
from also_selfsup.data.simulator.view import View

GRAIN = 0.4  # standard deviation of the logarithm of a surface's reflectance from point to point
WINDOW_LOSS = 0.6  # chance that a window answers nothing
# Grass is a thicket of blades and answers grazing light too; leaves face anywhere.
GRASS_FLOOR, LEAF_COSINE = 0.4, 0.6


@dataclass(frozen=True)
class Returns:
    """One turn of the sensor, a row per ray (R).

    Shapes: distance (R,) with inf where nothing came back; strength (R,) where 1 is a white wall hit head-on
    and more a retro-reflector; kind (R,); object (R,) with -1 for the ground and for nothing.
    """

    distance: Floats
    strength: Floats
    kind: Ints
    object: Ints


def measure(
    hits: Nearest, view: View, *, parts: NDArray[Any], street: Street, generator: np.random.Generator
) -> Returns:
    """Turn first hits into returns; rays with no part but a finite distance hit the ground of `street`."""
    count = len(hits.distance)
    distance, lost = hits.distance.copy(), np.zeros(count, dtype=bool)
    kind, owner = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    reflectance, cosine = np.zeros(count, np.float32), np.zeros(count, np.float32)
    ground = np.flatnonzero((hits.part < 0) & np.isfinite(distance))
    kind[ground], reflectance[ground], cosine[ground] = _ground_hits(
        distance[ground], ground, view=view, street=street
    )
    hit = np.flatnonzero(hits.part >= 0)
    struck = parts[hits.part[hit]]
    local, direction = local_hits(struck, distance[hit], direction=picked(view.level, hit))
    kind[hit], owner[hit], reflectance[hit] = struck["kind"], struck["object"], struck["reflectance"]
    cosine[hit] = incidence(struck, local, direction=direction)
    pane, deeper = house_windows(struck, local, direction=direction)
    distance[hit] += deeper
    lost[hit] = generator.random(len(hit)) < np.where(pane, WINDOW_LOSS, struck["dropout"])
    strength, seen = detect(distance, reflectance, cosine=cosine, sensor=view.sensor, generator=generator)
    seen &= ~lost
    measured = noisy(distance, kind, sensor=view.sensor, generator=generator)
    return Returns(
        distance=np.where(seen, measured, np.float32(np.inf)),
        strength=np.where(seen, strength, np.float32(0)),
        kind=np.where(seen, kind, int(Kind.NOTHING)),
        object=np.where(seen, owner, -1),
    )


def _ground_hits(distance: Floats, ray: Ints, *, view: View, street: Street) -> tuple[Ints, Floats, Floats]:
    """Kind, reflectance and cosine of incidence (G,) of the ground where rays (G,) meet it."""
    x, y = (float(view.position[axis]) + distance * view.world[axis][ray] for axis in (0, 1))
    kind, reflectance = street.surface(x, y)
    floor = np.where(kind == Kind.TERRAIN, np.float32(GRASS_FLOOR), np.float32(0))
    return kind, reflectance, floor + (1 - floor) * np.abs(view.world[2][ray])


def local_hits(parts: NDArray[Any], distance: Floats, *, direction: Axes) -> tuple[Axes, Axes]:
    """Hit points and directions (N,) in the frames of the parts (N,) that were hit."""
    frames = LocalFrames(parts)
    turned = frames.turned(np.arange(len(parts)), direction)
    x, y, z = (origin + distance * speed for origin, speed in zip(frames.origin, turned, strict=True))
    return (x, y, z), turned


def incidence(parts: NDArray[Any], local: Axes, *, direction: Axes) -> Floats:
    """Cosine (N,) between rays and surface normals at hits on parts (N,), all in the parts' frames."""
    length, width, height = parts["half"].T
    front, rear, side = parts["taper"].T
    x, y, z = local
    none, one = np.zeros_like(x), np.ones_like(x)
    above = z + height
    room = [
        length - x - front * above,
        length + x - rear * above,
        width - np.abs(y) - side * above,
        height - np.abs(z),
    ]
    faces = [(one, none, front), (-one, none, rear), (none, np.sign(y), side), (none, none, np.sign(z))]
    face = np.argmin(np.abs(room), axis=0)
    normal = np.stack([np.choose(face, [normals[axis] for normals in faces]) for axis in range(3)])
    outward = np.stack([x / length**2, y / width**2, z / height**2])
    cap = height - np.abs(z) < 1e-3
    barrel = np.where(cap, np.stack([none, none, one]), np.stack([outward[0], outward[1], none]))
    normal = np.where(parts["shape"] == Shape.ELLIPSOID, outward, normal)
    normal = np.where(parts["shape"] == Shape.CYLINDER, barrel, normal)
    cosine = np.abs((normal * np.stack(direction)).sum(0)) / (np.sqrt((normal**2).sum(0)) + 1e-12)
    return np.where(parts["free_path"] > 0, LEAF_COSINE, cosine).astype(np.float32)


def house_windows(parts: NDArray[Any], local: Axes, *, direction: Axes) -> tuple[Bools, Floats]:
    """Which hits (N,) on houses fall on a window, and how much further the ray goes to its pane (N,)."""
    x, y, z = local
    length, width, height = parts["half"].T
    at_end = length - np.abs(x) < 0.02
    place, facing = np.where(at_end, y, x), np.abs(np.where(at_end, direction[0], direction[1]))
    front = (parts["kind"] == Kind.BUILDING) & (height - np.abs(z) > 0.02)
    large = (height > 1.4) & (np.where(at_end, width, length) > 1.2)
    storey = np.mod(z + height, 3.1)
    pane = front & large & (np.mod(place, 2.4) < 1.25) & (storey > 0.95) & (storey < 2.35)
    return pane, np.where(pane, 0.18 / np.maximum(facing, 0.25), 0).astype(np.float32)


def detect(
    distance: Floats,
    reflectance: Floats,
    *,
    cosine: Floats,
    sensor: SensorModel,
    generator: np.random.Generator,
) -> tuple[Floats, Bools]:
    """Strength (R,) of returns, and whether (R,) the sensor notices them.

    Strength falls with the angle of incidence (Lambert); what reaches the detector falls with the squared
    distance.
    """
    grain = np.exp(GRAIN * generator.standard_normal(len(distance), dtype=np.float32))
    strength = reflectance * np.where(reflectance > 1, 0.4 + 0.6 * cosine, cosine) * grain
    power = np.log(np.maximum(strength, 1e-6) / (np.maximum(distance, 1.0) ** 2 * sensor.sensitivity) + 1e-12)
    seen = generator.random(len(distance), dtype=np.float32) < 1 / (1 + np.exp(-2 * power.clip(-20, 20)))
    return strength, seen & (distance < sensor.max_range) & (distance > sensor.min_range)


def noisy(distance: Floats, kind: Ints, *, sensor: SensorModel, generator: np.random.Generator) -> Floats:
    """Distances (R,) as measured: the device's noise and errors, and the roughness of what was hit."""
    own = sensor.range_noise + NOISE_PER_METRE * np.where(np.isfinite(distance), distance, 0)
    deviation = np.hypot(own, ROUGHNESS[kind]).astype(np.float32)
    errors = np.tile(sensor.range_errors(), sensor.azimuth_steps)
    return distance + errors + deviation * generator.standard_normal(len(distance), dtype=np.float32)
