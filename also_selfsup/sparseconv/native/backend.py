"""The default backend: sparse convolution with torch alone, on the CPU and on CUDA, in every precision.

Letters: V voxels (rows), C channels, K cells of a kernel, I input channels, O output channels.

Rows keep the caller's order. Lexicographically sorted cells (as `transforms.voxelization` gives them) are
quickest, because neighbours then lie near one another in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from also_selfsup.sparseconv import units
from also_selfsup.sparseconv.interface import Backend, Geometry, Triple, Voxels
from also_selfsup.sparseconv.kernels import as_cells
from also_selfsup.sparseconv.native.gpu.fused import Source, Step, evaluate_unit, fusible, train_unit
from also_selfsup.sparseconv.native.gpu.layout import Sizes, Tables
from also_selfsup.sparseconv.native.gpu.plans import pyramid_of
from also_selfsup.sparseconv.native.gpu.recording import Recorder
from also_selfsup.sparseconv.native.gpu.shadows import Shadows
from also_selfsup.sparseconv.native.gpu.tiled import BLOCK, convolve_tiled, suits, tiling
from also_selfsup.sparseconv.native.levels import Pyramid, Workspace, first_level
from also_selfsup.sparseconv.native.products import convolve
from also_selfsup.sparseconv.native.ways import pairs_of, plan_of
from also_selfsup.transforms.pending import Steps


@dataclass(eq=False)
class NativeVoxels:
    """Voxels of the native backend: features on one level of a pyramid that the whole batch shares.

    Attributes:
        feats: (V, C). Once a fused step has read them, the same numbers by way of that step, which adds up
            the gradients of all later readers (`train_unit`): voxels are of one pass.
        pyramid, index: All levels, and which one this is.
        backend: Whose these are.
        source: How the features can be made again, where a GPU had better do that than keep them.
    """

    feats: Tensor
    pyramid: Pyramid
    index: int
    backend: NativeBackend
    source: Source | None = None

    @property
    def coords(self) -> Tensor:
        """(V, 4) cells `[batch, x, y, z]`."""
        return self.pyramid.levels[self.index].coords

    @property
    def level(self) -> int:
        """Down-samplings since the input."""
        return self.pyramid.levels[self.index].depth

    @property
    def notes(self) -> dict[str, Any]:
        """What was derived from the cells of this level."""
        return self.pyramid.levels[self.index].notes

    def with_feats(self, feats: Tensor) -> NativeVoxels:
        """The same cells with other features."""
        if len(feats) != len(self.coords):
            raise ValueError(f"{len(feats)} feature rows for {len(self.coords)} voxels.")
        return NativeVoxels(feats, self.pyramid, self.index, self.backend)


@dataclass(frozen=True)
class Prepared:
    """What is known of a batch before its network runs.

    Attributes:
        tables: Of all levels.
        points: Points in the order of their voxels, and where each voxel's begin.
    """

    tables: Tables
    points: tuple[Tensor, Tensor]

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Tell the allocator that a stream uses this memory."""
        for tensor in (self.tables.buffer, *self.points):
            tensor.record_stream(stream)


class NativeBackend(Backend):
    """Gather, multiply, sum by segment; see `Backend` for what each method promises."""

    name = "native"

    def __init__(self) -> None:
        self.workspace = Workspace()
        self.shadows = Shadows()
        self.recorder: Recorder | None = None

    def voxels(self, feats: Tensor, coords: Tensor, *, grid: Triple | None = None) -> NativeVoxels:
        """Voxels of level 0; raises ValueError for shapes that do not fit and for duplicate cells."""
        if coords.dim() != 2 or coords.shape[1] != 4 or coords.is_floating_point():
            raise ValueError(f"coords: expected (V, 4) integers [batch, x, y, z], found {_describe(coords)}.")
        if feats.dim() != 2 or len(feats) != len(coords) or not feats.is_floating_point():
            raise ValueError(
                f"feats: expected ({len(coords)}, channels) floating point, found {_describe(feats)}."
            )
        self.shadows.begin()
        return NativeVoxels(feats, Pyramid([first_level(coords, grid=grid)]), 0, self)

    def record(self) -> None:
        """Record the passes of the network that trains, where that is possible (`Recorder`)."""
        self.recorder = Recorder()

    def prepare(
        self, network: nn.Module, coords: Tensor, *, voxel_id: Tensor, halvings: int
    ) -> Steps[Prepared | None]:
        """Tables of all levels, where tiled kernels will use them: in 16 bits on a GPU."""
        if not len(coords) or not tiling(coords.device):
            return None
        from also_selfsup.sparseconv.native.gpu.points import points_by_voxel
        from also_selfsup.sparseconv.native.gpu.pyramid import build_tables

        def room(sizes: Sizes) -> Sizes:
            expected = self.recorder is not None and self.recorder.expects(network)
            return self.recorder.make_room(sizes) if self.recorder and expected else sizes

        tables = yield from build_tables(coords.int().contiguous(), depth=halvings, room=room)
        if tables is None:
            return None
        return Prepared(tables, points_by_voxel(voxel_id, count=tables.layout.sizes.rows[0]))

    def run(
        self,
        network: nn.Module,
        step: Callable[[Voxels], Tensor],
        feats: Tensor,
        *,
        coords: Callable[[], Tensor],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """The pass; recorded if there is a recorder."""
        if prepared is None:
            return step(self.voxels(feats, coords()))

        def on_tables(feats: Tensor, tables: Tables) -> Tensor:
            self.shadows.begin()
            return step(NativeVoxels(feats, pyramid_of(tables), 0, self))

        if self.recorder is None:  # tables without filling
            return on_tables(feats, prepared.tables)
        return self.recorder.run(network, on_tables, feats, tables=prepared.tables, shadows=self.shadows)

    def spread(self, latents: Tensor, voxel_id: Tensor, *, prepared: Prepared | None = None) -> Tensor:
        """Latents of the voxels to the points."""
        if prepared is None:
            return latents.index_select(0, voxel_id)
        from also_selfsup.sparseconv.native.gpu.points import to_points

        return to_points(latents, voxel_id, prepared.points)

    def features(self, x: Voxels) -> Tensor:
        """(V, C) in the caller's row order, which is this backend's own."""
        return x.feats

    def submanifold(self, x: Voxels, kernel: Tensor, size: Triple) -> NativeVoxels:
        """Convolution on the same cells."""
        x = _own(x)
        if kernel.dim() == 2:
            return x.with_feats(x.feats @ kernel)
        return _run(x, as_cells(kernel, size), Geometry("submanifold", size))

    def downsample(
        self, x: Voxels, kernel: Tensor, size: Triple, stride: Triple, padding: Triple
    ) -> NativeVoxels:
        """Strided convolution; coarse cells ordered by batch, x, y, z."""
        return _run(_own(x), as_cells(kernel, size), Geometry("downsample", size, stride, padding))

    def upsample(self, x: Voxels, kernel: Tensor, size: Triple) -> NativeVoxels:
        """Inverse of the down-sampling that made `x`."""
        return _run(_own(x), as_cells(kernel, size), Geometry("upsample", size))

    def unit(
        self,
        x: Voxels,
        kernel: Tensor,
        *,
        geometry: Geometry,
        norm: nn.Module | None = None,
        residual: Voxels | None = None,
        relu: bool = False,
    ) -> Voxels:
        """relu(norm(convolution(x)) + residual): one step in 16 bits on a GPU, else one after the other."""
        own = _own(x)
        feats, cells = _whole_blocks(own.feats.to(units.autocast_dtype(own.feats)), kernel)
        if not isinstance(norm, nn.BatchNorm1d) or not fusible(feats, cells, norm):
            return units.compose(x, kernel, geometry=geometry, norm=norm, residual=residual, relu=relu)
        plan, to = (
            (None, own.index) if kernel.dim() == 2 else plan_of(own.pyramid, own.index, geometry=geometry)
        )
        step = Step(
            cells=self.shadows.of(cells, feats.dtype),
            plan=plan,
            norm=norm,
            count=own.pyramid.levels[to].live,
            relu=relu,
            source=own.source if own.feats.dtype == feats.dtype else None,
        )
        added = None if residual is None else residual.feats.to(feats.dtype)
        if norm.training:
            result, passed = train_unit(feats, cells, step=step, residual=added)
            if own.feats is feats and torch.is_grad_enabled():
                own.feats = passed
        else:
            result = evaluate_unit(feats, step=step, affine=self.shadows.affine_of(norm), residual=added)
        made, step.made = step.made, None  # the step lives as long as the graph
        return NativeVoxels(result, own.pyramid, to, self, made)


def _whole_blocks(feats: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Features and kernel with zeros that fill up a block of channels: those of a network's input are few."""
    if not feats.is_cuda or feats.shape[1] % BLOCK == 0:
        return feats, kernel
    missing = -feats.shape[1] % BLOCK
    return functional.pad(feats, (0, missing)), functional.pad(kernel, (0, 0, 0, missing))


def _own(x: Voxels) -> NativeVoxels:
    if not isinstance(x, NativeVoxels):
        raise TypeError(f"voxels of backend {x.backend.name!r} given to the native backend.")
    return x


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}"


def _run(x: NativeVoxels, cells: Tensor, geometry: Geometry) -> NativeVoxels:
    """The convolution, in autocast's dtype where it is on."""
    feats, cast = units.autocast(x.feats, cells)
    with torch.autocast(feats.device.type, enabled=False):
        if suits(feats, cells):
            plan, to = plan_of(x.pyramid, x.index, geometry=geometry)
            if min(plan.counts):  # a bounded grid may have lost all coarse cells
                return NativeVoxels(convolve_tiled(feats, cells, plan=plan), x.pyramid, to, x.backend)
        pairs, to = pairs_of(x.pyramid, x.index, geometry=geometry)
        result = convolve(feats, cast, pairs=pairs, workspace=x.backend.workspace)
    return NativeVoxels(result, x.pyramid, to, x.backend)
