"""The vehicle that carries the lidar, as far as the lidar sees it: a roof with two rails and the edge of its bonnet."""

from __future__ import annotations

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing
from also_selfsup.data.simulator.sensors import SensorModel


def ego(sensor: SensorModel) -> Thing:
    """Roof, rails and bonnet in the frame (x to the vehicle's front, z up) whose origin is the sensor."""
    # A roof-mounted lidar stands a hand above the roof; the lower ones of other vehicles see nothing of themselves.
    roof = sensor.height - 1.50 if sensor.height > 1.8 else sensor.height
    kind = Kind.EGO
    parts = [
        Part(Shape.ELLIPSOID, (-0.35, 0, -roof - 0.11), (1.0, 0.62, 0.13), kind, 0.06),
        Part(Shape.FRUSTUM, (-0.35, 0, -roof - 0.2), (1.1, 0.66, 0.15), kind, 0.06, taper=(0.9, 0.7, 0.35)),
        *(
            Part(Shape.BOX, (0.24, side * 0.38, -roof + 0.03), (0.02, 0.2, 0.04), kind, 0.08)
            for side in (-1, 1)
        ),
        *(
            Part(Shape.BOX, (-0.3, side * 0.52, -roof + 0.0), (0.5, 0.02, 0.02), kind, 0.08)
            for side in (-1, 1)
        ),
        Part(
            Shape.FRUSTUM,
            (1.7, 0, -roof - 0.62),
            (0.35, 0.75, 0.2),
            kind,
            0.08,
            taper=(1.0, 0.1, 0.3),
            dropout=0.3,
        ),
    ]
    return Thing(kind, parts)
