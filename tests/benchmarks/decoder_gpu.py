"""The decoder on one GPU at the size of the nuscenes recipe: its kernels beside torch, and beside float64.

    python tests/benchmarks/decoder_gpu.py --quick

Three ways: `kernels`, what training takes; `folded`, the same order of arithmetic by torch, which other
devices and precisions take; `plain`, the published formula. First the errors beside float64, then medians:
`device`, between two events with the device busy before; `host`, until the last launch; `wall`, until the
device is done. At last the whole as a CUDA graph, where no launch costs the host anything.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from decoder_ways import WAYS, WEIGHTS, Way, batch_of, check_search, errors, kernels, torch_alone
from rich.console import Console
from rich.table import Table

from also_selfsup.evaluation.iou import OccupancyMetrics
from also_selfsup.losses.occupancy import weighted_losses
from also_selfsup.networks import InterpNet, build_decoder, interpnet_fused, pairs
from also_selfsup.networks.interpnet_fused import Tuning

PUBLISHED_MS = 14.6


def parts(net: InterpNet, batch: dict[str, Any], way: Way) -> dict[str, Callable[[], Any]]:
    """The steps of a way, each of which needs those before it."""
    state: dict[str, Any] = {}
    metrics = OccupancyMetrics().cuda()
    alone = ExitStack if way is kernels else torch_alone

    def find() -> None:
        with alone():
            state["pairs"] = net.search(batch)

    def forward() -> None:
        with alone(), torch.autocast("cuda", torch.bfloat16):
            state["fields"] = {**batch, **way(net, {**batch, **state["pairs"]})}

    def lose() -> None:
        with alone(), torch.autocast("cuda", torch.bfloat16):
            state["loss"] = weighted_losses(state["fields"], WEIGHTS)["total"]

    def backward() -> None:
        state["grads"] = torch.autograd.grad(
            state["loss"], [batch["latents"], *net.parameters()], retain_graph=True
        )

    def score() -> None:
        fields = state["fields"]
        with alone():
            metrics.update(
                fields["occupancy_logits"], fields["pair_query"], occupancies=fields["occupancies"]
            )

    return {"search": find, "forward": forward, "losses": lose, "backward": backward, "metrics": score}


def timed(run: Callable[[], Any], *, rounds: int) -> tuple[float, float, float]:
    """Median milliseconds: device, host, wall."""
    found = []
    filler = torch.empty(2**28, device="cuda")
    for number in range(rounds + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(8):  # the device is busy while the host launches: events see no gaps
            filler.zero_()
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        launched = time.perf_counter()
        torch.cuda.synchronize()
        done = time.perf_counter()
        if number >= 3:
            found.append((begin.elapsed_time(end), 1e3 * (launched - start), 1e3 * (done - start)))
    device, host, wall = (statistics.median(column) for column in zip(*found, strict=True))
    return device, host, wall


def launches(run: Callable[[], Any]) -> int:
    """Kernels, copies and fillings that a step starts."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        run()
        torch.cuda.synchronize()
    cuda = torch.autograd.DeviceType.CUDA
    return sum(event.count for event in found.key_averages() if event.device_type == cuda)


def graphed(net: InterpNet, batch: dict[str, Any], *, rounds: int) -> float:
    """Median milliseconds of everything in one CUDA graph, with room for all pairs there can be."""
    net.static = True
    steps = parts(net, batch, kernels)

    def whole() -> None:
        for step in steps.values():
            step()

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            whole()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        whole()
    net.static = False
    return timed(graph.replay, rounds=rounds)[0]


def speed(console: Console, *, scans: int, rounds: int) -> None:
    """Times of all ways."""
    net, batch = build_decoder("InterpNet", latent_size=128).cuda(), batch_of(scans)
    columns = [f"{way} {what}" for way in WAYS for what in ("device", "host", "wall", "launches")]
    found = {}
    for name, way in WAYS.items():
        for part, run in parts(net, batch, way).items():
            found[part, name] = (*timed(run, rounds=rounds), float(launches(run)))
    count = len(net.search(batch)["pairs"].exact()[0])
    device = torch.cuda.get_device_name()
    table = Table(
        "ms", *columns, title=f"{device}: {scans} scans, {len(batch['pos'])} supports, {count} pairs"
    )
    names = [part for part, way in found if way == "kernels"]
    for part in names:
        table.add_row(part, *cells([found[part, way] for way in WAYS]))
    sums = [tuple(sum(found[part, way][i] for part in names) for i in range(4)) for way in WAYS]
    table.add_row("sum", *cells(sums))
    console.print(table)
    without = sum(found[part, "kernels"][0] for part in names if part != "metrics")
    console.print(f"decoder with search and losses: {without:.2f} ms, published code {PUBLISHED_MS}")
    console.print(f"all in one CUDA graph: {graphed(net, batch, rounds=rounds):.2f} ms")


def cells(rows: list[tuple[float, ...]]) -> list[str]:
    return [f"{value:.0f}" if i == 3 else f"{value:.3f}" for row in rows for i, value in enumerate(row)]


def sweep(console: Console, *, rounds: int) -> None:
    """Other cuts of the kernels: milliseconds of forward and backward, quickest last."""
    net, batch = build_decoder("InterpNet", latent_size=128).cuda(), batch_of(16)
    tried = {
        "PREDICT": ("forward", itertools.product((32, 64, 128), (4, 8), (1, 2, 3), (1, 2, 4))),
        "PULL": ("backward", itertools.product((32, 64), (8,), (1, 2, 3), (1,))),
        "GATHER": ("backward", itertools.product((32, 64), (4, 8), (1, 2, 3), (1, 2, 4))),
    }
    for name, (part, cuts) in tried.items():
        times = []
        for cut in cuts:
            with patch.object(interpnet_fused, name, Tuning(*cut)):
                steps = parts(net, batch, kernels)
                for step in itertools.islice(steps.values(), 3):
                    step()
                times.append((timed(steps[part], rounds=rounds)[0], cut))
        for value, cut in sorted(times, reverse=True)[-6:]:
            console.print(f"{name} {cut}: {value:.3f} ms of {part}")
    for width in (8, 16, 32):
        with patch.dict(pairs.RANGES, {3: {"R": 16, "W": width}}):
            value = timed(parts(net, batch, kernels)["search"], rounds=rounds)[0]
        console.print(f"{width} candidates of a range at a time: {value:.3f} ms of search")


def main() -> None:
    """Compare, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--sweep", action="store_true", help="try other cuts of the kernels")
    options = parser.parse_args()
    console, rounds = Console(width=150), 10 if options.quick else 50
    torch.manual_seed(0)
    check_search(console)
    errors(console)
    speed(console, scans=16, rounds=rounds)
    if options.sweep:
        sweep(console, rounds=5)


if __name__ == "__main__":
    main()
