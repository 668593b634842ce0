"""After pre-training: the surface where predicted occupancy is one half, as a mesh of triangles.

X, Y, Z cells of a region; V vertices, T triangles. Metres in the sensor frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from also_selfsup.reporting.region import Region

LEVEL = 0.5


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in space.

    Attributes:
        vertices: (V, 3) float32, metres.
        triangles: (T, 3) int32 rows of `vertices`, counter-clockwise as seen from free space.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]

    def area(self) -> float:
        """Sum of the triangles' areas, square metres."""
        a, b, c = (self.vertices[self.triangles[:, corner]].astype(np.float64) for corner in range(3))
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


NO_MESH = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def extract_surface(occupancy: NDArray[np.float32], region: Region, *, level: float = LEVEL) -> Mesh:
    """Find the surface between free and occupied space by marching cubes (Lewiner et al., 2003).

    Space of which nothing is known has no surface: the mesh is open where the network's reach ends.

    Args:
        occupancy: (X, Y, Z) at the centres of the cells; NaN where it is unknown.
        region: Of those cells.
        level: What parts free from occupied.

    Returns:
        The mesh, empty where nothing crosses the level.
    """
    from skimage.measure import marching_cubes  # here: only those who ask for a mesh wait for it

    known = np.isfinite(occupancy)
    cubes = known[:-1, :-1, :-1].copy()  # of eight neighbouring centres
    for x, y, z in np.ndindex(2, 2, 2):
        cubes &= known[x:, y:, z:][: cubes.shape[0], : cubes.shape[1], : cubes.shape[2]]
    inside = occupancy[known]
    if not cubes.any() or not inside.min() < level < inside.max():
        return NO_MESH
    mask = np.zeros(known.shape, bool)
    mask[1:, 1:, 1:] = cubes  # scikit-image asks at the highest corner of a cube
    try:
        vertices, triangles, _, _ = marching_cubes(
            np.where(known, occupancy, 0),
            level,
            spacing=(region.cell,) * 3,
            gradient_direction="ascent",  # what is inside is above the level
            mask=mask,
        )
    except RuntimeError as error:  # what it says when no cube crosses the level
        if "No surface" not in str(error):
            raise
        return NO_MESH
    low = np.array([region.centres(axis)[0] for axis in range(3)], np.float32)
    return Mesh((vertices + low).astype(np.float32), triangles.astype(np.int32))
