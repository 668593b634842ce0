"""After pre-training: pictures, mesh and page of the space around one scan, in a folder.

N points of the scan inside the region, V vertices of the surface.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.reporting.colours import (
    GREY,
    RGB,
    Legend,
    Scale,
    Swatches,
    height_scale,
    intensity_scale,
    occupancy_scale,
    rgb,
)
from also_selfsup.reporting.pictures import occupancy_picture
from also_selfsup.reporting.ply import write_ply
from also_selfsup.reporting.scene import Layer, Scene, write_scene
from also_selfsup.reporting.space import Space
from also_selfsup.reporting.surface_picture import surface_picture

HEIGHT, INTENSITY, LATENTS, OCCUPANCY = "height", "intensity", "latents", "occupancy"
WAYS = (HEIGHT, INTENSITY, LATENTS, OCCUPANCY)


def write_views(space: Space, folder: Path, *, title: str, colour: str) -> list[Path]:
    """Write `scene.html`, `occupancy.png`, `surface.png` and `surface.ply`; the page is the first.

    Args:
        space: What was asked and answered.
        folder: Made where it is missing; files of these names are replaced.
        title: Of the page.
        colour: `intensity`, `latents` or `height`: of the mesh's file, and of the page when it opens.
    """
    scales = _scales(space)
    colours = surface_colours(space, scales)
    values = {"intensity": space.intensity}
    return [
        write_scene(folder / "scene.html", scene_of(space, scales, title=title, first=colour)),
        occupancy_picture(space.scan, space.planes, answers=space.cuts, path=folder / "occupancy.png"),
        surface_picture(space, folder / "surface.png"),
        write_ply(folder / "surface.ply", space.mesh, colours=colours[colour], values=values),
    ]


def _scales(space: Space) -> dict[str, Scale]:
    points = space.points
    return {
        HEIGHT: height_scale(space.scan.pos[points, 2]),
        INTENSITY: intensity_scale(space.scan.intensities[points, 0]),
        OCCUPANCY: occupancy_scale(),
    }


def surface_colours(space: Space, scales: Mapping[str, Scale]) -> dict[str, RGB]:
    """Colours (V, 3) of the surface, each way; by occupancy it is grey, being one half everywhere."""
    return {
        HEIGHT: scales[HEIGHT].colour(space.mesh.vertices[:, 2]),
        INTENSITY: scales[INTENSITY].colour(space.intensity),
        LATENTS: space.latents,
        OCCUPANCY: np.tile(rgb(GREY), (len(space.mesh.vertices), 1)),
    }


def scene_of(space: Space, scales: Mapping[str, Scale], *, title: str, first: str) -> Scene:
    """The page's content: points, surface, occupied cells, slices."""
    region, mesh = space.region, space.mesh
    components = [
        ("#e05050", "red: first principal component"),
        ("#50b050", "green: second"),
        ("#5070e0", f"blue: third; {100 * space.share:.0f} % of the variance in all"),
    ]
    legends: dict[str, Legend] = {way: scale.legend() for way, scale in scales.items()}
    legends[LATENTS] = Swatches(components)
    known = 100 * np.isfinite(space.occupancy).mean()
    return Scene(
        title=title,
        notes=[
            "What a network that saw no label believes of the space around one scan, asked every "
            f"{region.cell:g} m. {known:.0f} % of the region is within its reach.",
            "Of the rest it says nothing.",
        ],
        layers=[
            _points(space, scales),
            Layer("predicted surface", mesh.vertices, surface_colours(space, scales), mesh.triangles),
            _cells(space, scales),
            *_slices(space, scales),
        ],
        legends={way: legends[way] for way in (first, *(way for way in WAYS if way != first))},
        target=_middle(space),
    )


def _middle(space: Space) -> tuple[float, float, float]:
    """Of the region, at the height of most points in it."""
    low, high = space.region.low, space.region.high
    heights = space.scan.pos[space.points, 2]
    z = float(np.median(heights)) if len(heights) else (low[2] + high[2]) / 2
    return (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, z


def _points(space: Space, scales: Mapping[str, Scale]) -> Layer:
    pos = space.scan.pos[space.points]
    colours = {
        HEIGHT: scales[HEIGHT].colour(pos[:, 2]),
        INTENSITY: scales[INTENSITY].colour(space.scan.intensities[space.points, 0]),
        LATENTS: space.point_latents,
        OCCUPANCY: scales[OCCUPANCY].colour(space.point_occupancy),
    }
    return Layer("lidar points", pos, colours, size=0.06)


def _cells(space: Space, scales: Mapping[str, Scale]) -> Layer:
    """Occupied cells; the surface lies around them."""
    region = space.region
    chosen = np.flatnonzero(np.nan_to_num(space.occupancy).ravel() > 0.5)
    pos = region.queries().numpy()[chosen]
    occupancy = space.occupancy.ravel()[chosen]
    colours = {OCCUPANCY: scales[OCCUPANCY].colour(occupancy), HEIGHT: scales[HEIGHT].colour(pos[:, 2])}
    return Layer("occupied cells", pos, colours, size=region.cell * 0.7, shown=False)


def _slices(space: Space, scales: Mapping[str, Scale]) -> list[Layer]:
    """Known cells of each plane, free and occupied."""
    layers = []
    for plane, cut in zip(space.planes, space.cuts, strict=True):
        known = np.isfinite(cut).ravel()
        values: NDArray[np.float32] = cut.ravel()[known]
        pos = plane.queries().numpy()[known]
        name = f"slice at {plane.across} = {plane.at:g} m"
        colours = {OCCUPANCY: scales[OCCUPANCY].colour(values)}
        layers.append(Layer(name, pos, colours, size=plane.cell, shown=False))
    return layers
