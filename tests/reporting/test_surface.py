"""The surface against a sphere's own formulas, and its file against what another reader finds in it."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from also_selfsup.data.readers.ply import read_ply
from also_selfsup.reporting.ply import write_ply
from also_selfsup.reporting.region import Region
from also_selfsup.reporting.surface import NO_MESH, Mesh, extract_surface

RADIUS = 1.5
REGION = Region((-2.0, -1.9, -2.2), 0.1, (40, 39, 44))  # the middle of no cell is the sphere's


def sphere() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Occupancy of a ball, one half at its surface; and the places of the cells, (X, Y, Z, 3)."""
    places = REGION.queries().numpy().reshape(*REGION.shape, 3)
    depth = RADIUS - np.linalg.norm(places, axis=-1)
    return (1 / (1 + np.exp(-4 * depth))).astype(np.float32), places


def edges_of(mesh: Mesh) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Each edge once, and how many triangles it has."""
    a, b, c = mesh.triangles.T
    edges = np.sort(np.concatenate([np.stack(pair, 1) for pair in ((a, b), (b, c), (c, a))]), axis=1)
    found, counts = np.unique(edges, axis=0, return_counts=True)
    return found, counts


def test_a_sphere_has_its_place_area_volume_and_no_hole() -> None:
    occupancy, _ = sphere()
    mesh = extract_surface(occupancy, REGION)
    away = np.linalg.norm(mesh.vertices, axis=1)
    np.testing.assert_allclose(away, RADIUS, atol=0.003)
    assert mesh.area() == pytest.approx(4 * math.pi * RADIUS**2, rel=0.005)
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]].astype(np.float64) for corner in range(3))
    # Positive: triangles run counter-clockwise as seen from outside, where space is free.
    volume = float((np.cross(a, b) * c).sum() / 6)
    assert volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.005)
    edges, counts = edges_of(mesh)
    assert (counts == 2).all()  # closed
    assert len(mesh.vertices) - len(edges) + len(mesh.triangles) == 2  # Euler: one sphere


def test_no_surface_in_or_at_what_is_unknown() -> None:
    occupancy, places = sphere()
    occupancy[places[..., 0] < 0.3] = np.nan
    mesh = extract_surface(occupancy, REGION)
    first = REGION.centres(0)[REGION.centres(0) >= 0.3].min()  # the mesh begins at the first known centre
    assert mesh.vertices[:, 0].min() == pytest.approx(first, abs=1e-5)
    # A cap of height h has the area 2 pi r h; the cut itself is no surface.
    assert mesh.area() == pytest.approx(2 * math.pi * RADIUS * (RADIUS - first), rel=0.005)
    _, counts = edges_of(mesh)
    assert 0 < (counts == 1).sum() < 0.1 * len(counts)  # open along the cut


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_nothing_where_nothing_crosses(value: float) -> None:
    assert extract_surface(np.full(REGION.shape, value, np.float32), REGION) is NO_MESH
    flat = Region((0.0, 0.0, 0.0), 1.0, (5, 5, 1))
    assert extract_surface(np.random.default_rng(0).random(flat.shape, np.float32), flat) is NO_MESH


def test_known_cells_that_never_touch_an_unknown_crossing_have_no_surface() -> None:
    occupancy = np.full(REGION.shape, np.nan, np.float32)
    occupancy[:5], occupancy[10:] = 0.0, 1.0  # both sides are known, the step between them is not
    assert extract_surface(occupancy, REGION) is NO_MESH


def test_file_of_a_mesh(tmp_path: Path) -> None:
    occupancy, _ = sphere()
    mesh = extract_surface(occupancy, REGION)
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (len(mesh.vertices), 3)).astype(np.uint8)
    strength = generator.random(len(mesh.vertices), np.float32)
    path = write_ply(tmp_path / "deep" / "a.ply", mesh, colours=colours, values={"intensity": strength})
    table = read_ply(path)  # the reader of scans
    assert table.names == ("x", "y", "z", "intensity", "red", "green", "blue")
    np.testing.assert_array_equal(np.stack(table.columns[:3], 1), mesh.vertices)
    np.testing.assert_array_equal(table.columns[3], strength)
    np.testing.assert_array_equal(np.stack(table.columns[4:], 1), colours)
    header, _, body = path.read_bytes().partition(b"end_header\n")
    assert f"element face {len(mesh.triangles)}".encode() in header
    faces = np.frombuffer(body[19 * len(mesh.vertices) :], np.uint8).reshape(-1, 13)
    assert (faces[:, 0] == 3).all()
    np.testing.assert_array_equal(faces[:, 1:].copy().view("<i4"), mesh.triangles)


def test_file_of_no_mesh(tmp_path: Path) -> None:
    none = np.zeros((0, 3), np.uint8)
    path = write_ply(tmp_path / "a.ply", NO_MESH, colours=none, values={})
    assert b"element vertex 0\n" in path.read_bytes()
