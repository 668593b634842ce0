"""The vehicle that carries the lidar, as the lidar sees it: roof, rails, what the windscreen hides."""

from __future__ import annotations

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Pose, Shape, Thing
from also_selfsup.data.simulator.sensors import SensorModel

# Height of the roof above the ground. A lidar that does not stand clear of it sees nothing of the vehicle.
ROOF, CLEARANCE = 1.5, 0.3
BLACK = 0.06


def ego(sensor: SensorModel) -> Thing:
    """The vehicle in the frame (x to its front, z up) whose origin is the sensor."""
    if sensor.height < ROOF + CLEARANCE:
        return Thing(Kind.EGO, [], Pose(0, 0))
    drop = sensor.height - ROOF
    roof, bonnet = (0.9, 0.59, 0.2), (1.0, 0.72, 0.4)
    rails = [((0.3, side * 0.3, 0.03 - drop), (0.02, 0.25, 0.04)) for side in (-1, 1)]
    rails += [((-0.3, side * 0.54, -drop), (0.4, 0.02, 0.02)) for side in (-1, 1)]
    rails += [((1.5, side * 0.4, -0.43 - drop), (0.02, 0.2, 0.025)) for side in (-1, 1)]
    parts = [
        Part(
            Shape.FRUSTUM, (-0.25, 0, -0.2 - drop), roof, Kind.EGO, BLACK, taper=(0.6, 0.8, 0.2), dropout=0.03
        ),
        # Black and shiny, or behind glass: in the way without answering.
        Part(
            Shape.FRUSTUM, (1.1, 0, -0.87 - drop), bonnet, Kind.EGO, BLACK, taper=(0.8, 0, 0.3), dropout=0.97
        ),
        *(Part(Shape.BOX, place, half, Kind.EGO, BLACK) for place, half in rails),
    ]
    return Thing(Kind.EGO, parts, Pose(0, 0))
