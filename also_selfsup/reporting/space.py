"""After pre-training: the space around one scan as the network believes it to be.

X, Y, Z cells of a region; V vertices of the predicted surface; N points of the scan inside the region.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from also_selfsup.data.scan import Scan
from also_selfsup.reporting.dense import Answers, answer
from also_selfsup.reporting.latents import component_colours, principal_components
from also_selfsup.reporting.occupancy import Plane, encode
from also_selfsup.reporting.region import Region
from also_selfsup.reporting.surface import Mesh, extract_surface
from also_selfsup.settings.progress import progress_bar
from also_selfsup.training.pretraining import PretrainingModule


@dataclass(frozen=True, eq=False)
class Space:
    """What was asked and answered; NaN wherever no support is within reach.

    Attributes:
        scan: Whose surroundings.
        region: The cells asked about.
        occupancy: (X, Y, Z) float32 in [0, 1].
        planes: Finer cuts through the region.
        cuts: Occupancy of each plane, (rows, columns), the lowest row first.
        mesh: The surface, V vertices.
        intensity: (V,) float32, predicted return strength on the surface.
        latents: (V, 3) uint8, principal components of the latents there, as colours.
        points: (N,) rows of the scan's points inside the region.
        point_occupancy: (N,) float32, at the points themselves.
        point_latents: (N, 3) uint8.
        share: Share of the latents' variance that the three components hold.
    """

    scan: Scan
    region: Region
    occupancy: NDArray[np.float32]
    planes: Sequence[Plane]
    cuts: Sequence[NDArray[np.float32]]
    mesh: Mesh
    intensity: NDArray[np.float32]
    latents: NDArray[np.uint8]
    points: NDArray[np.int64]
    point_occupancy: NDArray[np.float32]
    point_latents: NDArray[np.uint8]
    share: float


def explore(
    module: PretrainingModule, scan: Scan, region: Region, *, planes: Sequence[Plane], console: Console
) -> Space:
    """Ask the network about a region, its planes, the surface in it and the points in it.

    Args:
        module: Pre-trained; it is left in evaluation mode.
        scan: Of at least one point.
        region: Cells to ask about.
        planes: Finer cuts.
        console: For the progress bar.
    """
    fields = encode(module, scan)
    points = np.flatnonzero(region.holds(scan.pos))
    pos = torch.from_numpy(scan.pos[points])
    components, share = principal_components(module, fields, places=pos)
    with progress_bar(console) as progress:

        def ask(title: str, queries: torch.Tensor, values: torch.Tensor | None = None) -> Answers:
            task = progress.add_task(title, total=len(queries))

            def advance(count: int) -> None:
                progress.advance(task, count)

            return answer(module, fields, queries=queries, values=values, advance=advance)

        cells = ask("cells of the region", region.queries()).occupancy.reshape(region.shape).numpy()
        cuts = ask("cells of the slices", torch.cat([plane.queries() for plane in planes])).occupancy.numpy()
        mesh = extract_surface(cells, region)
        surface = ask("surface", torch.from_numpy(mesh.vertices), components)
        at_points = ask("points of the scan", pos, components)
    ends = np.cumsum([plane.shape[0] * plane.shape[1] for plane in planes])
    return Space(
        scan=scan,
        region=region,
        occupancy=cells,
        planes=planes,
        cuts=[
            part.reshape(plane.shape) for part, plane in zip(np.split(cuts, ends[:-1]), planes, strict=True)
        ],
        mesh=mesh,
        intensity=surface.intensity.numpy(),
        latents=component_colours(surface.values.numpy()),
        points=points,
        point_occupancy=at_points.occupancy.numpy(),
        point_latents=component_colours(at_points.values.numpy()),
        share=share,
    )
