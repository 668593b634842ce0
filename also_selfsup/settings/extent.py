"""Before the first file is read: the box that a bird's-eye-view backbone sees, in whole cells."""

from collections.abc import Sequence

from also_selfsup.settings.names import UserError

# How far a count of cells may be from a whole number: 70.4 / 0.05 is not 1408 in binary.
ROUNDING = 1e-3
# Voxels along x and y of a cell of the bird's-eye view, which is then halved once more.
VIEW_STRIDE = 8
VIEW_MULTIPLE = 2 * VIEW_STRIDE
# Voxels in z below which nothing is left after SECOND's strides.
VIEW_LOWEST = 24


class ExtentError(UserError):
    """An extent that is no box, or that does not hold a whole number of cells."""


def edges_of(voxel_size: float | Sequence[float]) -> tuple[float, float, float]:
    """Edges of a voxel along x, y, z in metres, from one number or three."""
    x, y, z = [voxel_size] * 3 if isinstance(voxel_size, int | float) else voxel_size
    return float(x), float(y), float(z)


def grid_cells(extent: Sequence[float], voxel_size: float | Sequence[float]) -> tuple[int, int, int]:
    """How many voxels an extent holds along x, y, z.

    Args:
        extent: [x_min, y_min, z_min, x_max, y_max, z_max], metres.
        voxel_size: Edge of a voxel in metres, or one for each of x, y, z.

    Raises:
        ExtentError: It is not six numbers, is empty along an axis, or holds a fraction of a voxel.
    """
    shown = f"cfg.network.extent={list(extent)}"
    if len(extent) != 6:
        raise ExtentError(f"{shown}: give six numbers, [x_min, y_min, z_min, x_max, y_max, z_max] in metres.")
    x, y, z = (
        _cells(low, high, edge=edge, where=f"{shown}, {axis}")
        for low, high, edge, axis in zip(extent[:3], extent[3:], edges_of(voxel_size), "xyz", strict=True)
    )
    return x, y, z


def view_cells(extent: Sequence[float], voxel_size: float | Sequence[float]) -> tuple[int, int, int]:
    """Cells of SECOND's bird's-eye view along x, y, z.

    Args:
        extent: As in `grid_cells`.
        voxel_size: As in `grid_cells`.

    Raises:
        ExtentError: As `grid_cells`; voxels along x or y are no multiple of 16; too few in z.
    """
    x, y, z = grid_cells(extent, voxel_size)
    for axis, count in (("x", x), ("y", y)):
        if count % VIEW_MULTIPLE:
            raise ExtentError(
                f"cfg.network.extent={list(extent)}, {axis}: {count} voxels are no whole number of cells of "
                f"the bird's-eye view; make them a multiple of {VIEW_MULTIPLE} (cfg.network.voxel_size)."
            )
    if z < VIEW_LOWEST:
        raise ExtentError(
            f"cfg.network.extent={list(extent)}, z: {z} voxels; SECOND needs {VIEW_LOWEST} at least, or "
            "nothing is left after its strides: take flatter voxels (cfg.network.voxel_size)."
        )
    depth = z // 2 + 1  # of z + 1 cells, after a stride with padding
    depth = (depth - 1) // 2 + 1  # and another
    depth = (depth - 3) // 2 + 1  # without
    return x // VIEW_STRIDE, y // VIEW_STRIDE, (depth - 3) // 2 + 1


def _cells(low: float, high: float, *, edge: float, where: str) -> int:
    if not high > low:
        raise ExtentError(f"{where}: from {low} m to {high} m there is nothing; the maximum must be larger.")
    cells = (high - low) / edge
    if abs(cells - round(cells)) > ROUNDING:
        raise ExtentError(
            f"{where}: {low} m to {high} m holds {cells:.2f} voxels of {edge} m "
            f"(cfg.network.voxel_size): a whole number is needed; {low + edge * round(cells):g} m would do."
        )
    return round(cells)
