"""For cost_gpu.py: what a network costs on a batch, and a layer on its cells; what does not fit says so."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from also_selfsup.data.scan import Scan, collate
from also_selfsup.settings.schema import Settings
from also_selfsup.sparseconv import SubmanifoldConv3d, Voxels, get_backend
from also_selfsup.sparseconv.native.levels import first_level
from also_selfsup.sparseconv.native.maps import submanifold_map
from also_selfsup.training.building import network_of, pretraining_transforms
from also_selfsup.transforms.pending import in_turn
from also_selfsup.transforms.randomness import step_generator

T = TypeVar("T")
FIELDS = ("voxel_coords", "voxel_coords_batch", "voxel_x", "voxel_to_pc_id")
PRECISIONS = {"native": torch.bfloat16, "spconv": torch.float16}
# How often a GPU writes so many floats, a GiB, while the host launches what is timed behind it.
LEAD, FILLER = 8, 2**28


@dataclass(frozen=True)
class Clock:
    """Medians of programs that take turns, so that a change of the machine meets all of them.

    Attributes:
        device: Where they run.
        steps: That count.
        warm_up: Before them: kernels are compiled in the first one, passes recorded in the second.
    """

    device: torch.device
    steps: int
    warm_up: int

    def medians(self, programs: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        """Milliseconds on the wall, the device waited for at both ends."""
        return self._medians(programs, self._lap)

    def device_medians(self, programs: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        """Milliseconds of the device between two events, launched before it begins; on a CPU on the wall."""
        if self.device.type != "cuda":
            return self.medians(programs)
        filler = torch.empty(FILLER, device=self.device)
        return self._medians(programs, partial(self._device_lap, filler=filler))

    def _medians(
        self, programs: Mapping[str, Callable[[], Any]], lap: Callable[[Callable[[], Any]], float]
    ) -> dict[str, float]:
        rounds = [
            {name: lap(run) for name, run in programs.items()} for _ in range(self.warm_up + self.steps)
        ]
        return {name: statistics.median(found[name] for found in rounds[self.warm_up :]) for name in programs}

    def _lap(self, run: Callable[[], Any]) -> float:
        self._wait()
        begin = time.perf_counter()
        run()
        self._wait()
        return 1e3 * (time.perf_counter() - begin)

    def _device_lap(self, run: Callable[[], Any], *, filler: Tensor) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(LEAD):
            filler.zero_()
        begin.record()
        run()
        end.record()
        self._wait()
        return begin.elapsed_time(end)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@dataclass(frozen=True)
class NetworkCost:
    """Forward and backward of a network on a batch.

    Attributes:
        ms: Milliseconds, tables made ahead where the backend can; None: it does not fit into memory.
        tables_ms: Of making those tables; None where the pass makes its own.
        peak_gib: Most that its tensors took at once, weights and tables with them; None on a CPU.
        recorded: Whether the passes were replayed from a recording.
    """

    ms: float | None = None
    tables_ms: float | None = None
    peak_gib: float | None = None
    recorded: bool = False


@dataclass(frozen=True)
class LayerCost:
    """One 3x3x3 submanifold layer, and bare products of its arithmetic.

    Attributes:
        pairs: Of an input row and an output row.
        channels: In and out.
        ms: Of "forward" and "forward + backward", and the same of dense products of (pairs, channels) with
            (channels, channels), one a direction; empty: it does not fit into memory.
    """

    pairs: int
    channels: int
    ms: dict[str, float]

    def tflops(self, name: str) -> float:
        """TFLOP/s: two operations a pair and kernel weight, three times as many with backward."""
        return 2e-9 * self.pairs * self.channels**2 * (3 if "backward" in name else 1) / self.ms[name]

    def share(self, name: str) -> float:
        """Of the rate of the dense products."""
        return self.ms[f"dense {name}"] / self.ms[name]


@dataclass(frozen=True)
class _Training:
    step: Callable[[], None]
    tables: Callable[[], Any] | None
    peak_gib: float | None
    recorded: bool


def fitting(work: Callable[[], T]) -> T | None:
    """What the work answers, None where the GPU's memory does not suffice; what it left is freed."""
    try:
        found = work()
    except torch.cuda.OutOfMemoryError:
        found = None
    gc.collect()  # here and not above: an error holds on to all that its frames hold
    torch.cuda.empty_cache()
    return found


def batch_of(settings: Settings, scans: list[Scan], *, device: torch.device) -> dict[str, Tensor]:
    """Voxels of a training batch of these scans, as the backbone takes them."""
    batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in collate(scans).items()}
    generator = step_generator(seed=0, epoch=1, rank=0, step=0, device=device)
    with torch.no_grad():
        fields = pretraining_transforms(settings)(batch, generator, training=True)
    return {name: fields[name] for name in FIELDS}


def network_costs(
    settings: Settings, fields: dict[str, Tensor], *, frameworks: list[str], clock: Clock
) -> dict[str, NetworkCost]:
    """Forward and backward of the recipe's backbone by each framework, in turns, on the voxels of a batch."""
    trainings = {}
    for name in frameworks:
        own = replace(settings, network=replace(settings.network, framework=name))
        trainings[name] = fitting(partial(_training_of, own, fields, clock=clock))
    fit = {name: training for name, training in trainings.items() if training is not None}
    programs: dict[str, Callable[[], Any]] = {name: training.step for name, training in fit.items()}
    programs |= {f"{name} tables": t.tables for name, t in fit.items() if t.tables is not None}
    ms = clock.medians(programs)
    costs = dict.fromkeys(frameworks, NetworkCost())
    for name, training in fit.items():
        costs[name] = NetworkCost(ms[name], ms.get(f"{name} tables"), training.peak_gib, training.recorded)
    return costs


def _training_of(settings: Settings, fields: dict[str, Tensor], *, clock: Clock) -> _Training:
    """The backbone as it trains, warm."""
    on_gpu = clock.device.type == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(settings.seed)
    net = network_of(settings, out_channels=settings.network.latent_size).to(clock.device)
    dtype = PRECISIONS[settings.network.framework]

    def tables() -> dict[str, Any]:
        with torch.no_grad(), torch.autocast(clock.device.type, dtype):
            return in_turn(net.prepare(fields))

    ready = tables()

    def step() -> None:
        with torch.autocast(clock.device.type, dtype):
            latents = net(fields | ready)["latents"]
        latents.float().square().mean().backward()
        net.zero_grad()

    for _ in range(clock.warm_up):
        step()
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if on_gpu else None
    recorder = getattr(net.backend, "recorder", None)
    recorded = recorder is not None and recorder.recording is not None
    return _Training(step, None if ready["prepared"] is None else tables, peak, recorded)


def cloud_of(fields: dict[str, Tensor]) -> tuple[Voxels, int]:
    """The cells of a batch by the native backend, and how many pairs of them a 3x3x3 kernel joins."""
    coords = torch.cat([fields["voxel_coords_batch"][:, None], fields["voxel_coords"]], dim=1).int()
    pairs = submanifold_map(first_level(coords.cpu()), (3, 3, 3))  # without each row's pair with itself
    nothing = torch.zeros(len(coords), 1, device=coords.device)
    return get_backend("native").voxels(nothing, coords), len(pairs) + len(coords)


def layer_cost(cloud: Voxels, pairs: int, *, channels: int, clock: Clock) -> LayerCost:
    """A layer on the cells of `cloud_of`, and products of its arithmetic, in turns, all in bfloat16."""
    work = partial(_layer_medians, cloud, pairs, channels=channels, clock=clock)
    return LayerCost(pairs, channels, fitting(work) or {})


def _layer_medians(cloud: Voxels, pairs: int, *, channels: int, clock: Clock) -> dict[str, float]:
    kind: Any = {"device": clock.device, "dtype": torch.bfloat16}
    layer = SubmanifoldConv3d(channels, channels).to(**kind)
    feats = torch.randn(len(cloud.coords), channels, **kind).requires_grad_()
    pulled = torch.randn(len(cloud.coords), channels, **kind)
    left, right = (torch.randn(pairs, channels, **kind) for _ in range(2))
    weight, out = torch.randn(channels, channels, **kind), torch.empty(pairs, channels, **kind)

    def forward() -> Tensor:
        return layer(cloud.with_feats(feats)).feats

    def products() -> None:
        torch.mm(left, weight, out=out)
        torch.mm(left.T, right)
        torch.mm(right, weight.T, out=out)

    programs = {
        "forward": forward,
        "forward + backward": lambda: torch.autograd.grad(forward(), [feats, layer.kernel], pulled),
        "dense forward": lambda: torch.mm(left, weight, out=out),
        "dense forward + backward": products,
    }
    return clock.device_medians(programs)
