"""The vehicle that carries the lidar, as far as the lidar sees it: roof, rails and the bonnet behind the windscreen."""

from __future__ import annotations

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing
from also_selfsup.data.simulator.sensors import SensorModel

# Height of the roof above the ground. Lower lidars than a roof lidar sit on the bonnet and see nothing of the vehicle.
ROOF = 1.5


def ego(sensor: SensorModel) -> Thing:
    """Roof, rails and bonnet in the frame (x to the vehicle's front, z up) whose origin is the sensor."""
    drop = max(sensor.height - ROOF, 0.1)
    kind, black = Kind.EGO, 0.06
    # What is black and shiny, or behind glass, is in the way without answering.
    hidden = Part(Shape.FRUSTUM, (1.1, 0, -drop - 0.75), (1.0, 0.72, 0.4), kind, black, taper=(0.8, 0, 0.3), dropout=0.97)
    parts = [
        Part(Shape.FRUSTUM, (-0.3, 0, -drop - 0.2), (1.0, 0.59, 0.2), kind, black, taper=(0.6, 0.5, 0.2), dropout=0.03),
        *(Part(Shape.BOX, (0.3, side * 0.3, -drop + 0.03), (0.02, 0.25, 0.04), kind, black) for side in (-1, 1)),
        *(Part(Shape.BOX, (-0.3, side * 0.54, -drop), (0.5, 0.02, 0.02), kind, black) for side in (-1, 1)),
        *(Part(Shape.BOX, (1.5, side * 0.4, -drop - 0.43), (0.02, 0.2, 0.025), kind, black) for side in (-1, 1)),
    ]
    return Thing(kind, [*parts, hidden] if sensor.height > ROOF + 0.2 else [])
