"""After a network's answer: a coloured mesh as a PLY file, which MeshLab, CloudCompare and Blender open.

V vertices, T triangles.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.reporting.surface import Mesh
from also_selfsup.settings.whole_file import whole_file

COLOURS = ("red", "green", "blue")


def write_ply(
    path: Path, mesh: Mesh, *, colours: NDArray[np.uint8], values: Mapping[str, NDArray[np.float32]]
) -> Path:
    """Write a mesh as binary PLY.

    Args:
        path: File to write; its folder is made.
        mesh: V vertices in metres, T triangles.
        colours: (V, 3) red, green, blue of each vertex.
        values: Further numbers of each vertex, (V,) by name, such as `intensity`.

    Returns:
        The path written.
    """
    names = ["x", "y", "z", *values]
    kinds = [*((name, "<f4") for name in names), *((name, "u1") for name in COLOURS)]
    vertices = np.zeros(len(mesh.vertices), np.dtype(kinds))
    columns = [*mesh.vertices.T, *values.values(), *colours.T]
    for name, column in zip([*names, *COLOURS], columns, strict=True):
        vertices[name] = column
    triangles = np.zeros(len(mesh.triangles), np.dtype([("count", "u1"), ("rows", "<i4", 3)]))
    triangles["count"], triangles["rows"] = 3, mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment predicted surface, metres, sensor frame",
        f"element vertex {len(vertices)}",
        *(f"property float {name}" for name in names),
        *(f"property uchar {name}" for name in COLOURS),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    with whole_file(path) as part:
        part.write_bytes("\n".join(header).encode("ascii") + vertices.tobytes() + triangles.tobytes())
    return path
