"""Native backend, the ways: from a geometry on a level of a batch to what a convolution there multiplies.

Letters: V voxels (rows) of a level.
"""

from __future__ import annotations

from also_selfsup.sparseconv.interface import Geometry
from also_selfsup.sparseconv.kernels import cell_count
from also_selfsup.sparseconv.native.gpu.plans import Plan, downsample_by_table, submanifold_plan, tabled
from also_selfsup.sparseconv.native.gpu.tiled import PairsPlan
from also_selfsup.sparseconv.native.levels import Origin, Pyramid
from also_selfsup.sparseconv.native.maps import submanifold_map
from also_selfsup.sparseconv.native.pairs import KernelMap
from also_selfsup.sparseconv.native.strides import downsample


def plan_of(pyramid: Pyramid, index: int, *, geometry: Geometry) -> tuple[Plan, int]:
    """The pairs of a convolution for the tiled kernels, and the level of its result."""
    level = pyramid.levels[index]
    if tabled(level, geometry):
        if geometry.kind == "submanifold":
            return submanifold_plan(level), index
        if geometry.kind == "upsample":
            origin = _origin(pyramid, index, geometry=geometry)
            return origin.plan.swapped(), origin.level
        coarse = downsample_by_table(pyramid, index, geometry=geometry)
        made = pyramid.levels[coarse].origin
        if made is not None and made.plan is not None:
            return made.plan, coarse
    pairs, to = pairs_of(pyramid, index, geometry=geometry)
    return PairsPlan(pairs, cell_count=cell_count(geometry.size)), to


def pairs_of(pyramid: Pyramid, index: int, *, geometry: Geometry) -> tuple[KernelMap, int]:
    """The pairs of a convolution, and the level of its result."""
    if geometry.kind == "submanifold":
        return submanifold_map(pyramid.levels[index], geometry.size), index
    if geometry.kind == "downsample":
        coarse = downsample(pyramid, index, geometry=geometry)
        origin = pyramid.levels[coarse].origin
        assert origin is not None
        return origin.pairs, coarse
    origin = _origin(pyramid, index, geometry=geometry)
    return origin.pairs.swapped(), origin.level


def _origin(pyramid: Pyramid, index: int, *, geometry: Geometry) -> Origin:
    """How the level of these voxels was made, to be undone.

    Raises:
        ValueError: By no down-sampling, or by one of another size.
    """
    origin = pyramid.levels[index].origin
    if origin is None:
        raise ValueError("upsample: these voxels are on level 0, no down-sampling made them.")
    if origin.size != geometry.size:
        raise ValueError(
            f"upsample: size {geometry.size}, but the down-sampling to undo has size {origin.size}."
        )
    return origin
