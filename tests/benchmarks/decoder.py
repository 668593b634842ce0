"""The decoder beside the plain formula, and its search beside a k-d tree, taken in turns."""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from torch import Tensor

from also_selfsup.networks import InterpNet, build_decoder


def street(scans: int, *, points: int, queries: int) -> dict[str, Any]:
    """Ground and walls, denser near the sensor; queries near the points and on the way to them."""
    generator = torch.Generator().manual_seed(0)
    count = scans * points
    distance, angle, height, wall = torch.rand(4, count, generator=generator)
    distance, angle = 3 + 47 * distance**3, 2 * torch.pi * angle
    z = torch.where(wall < 0.6, -1.8, 6 * height - 1.8)
    pos = torch.stack([distance * angle.cos(), distance * angle.sin(), z], dim=1)
    chosen = torch.rand(scans, points, generator=generator).argsort(dim=1)[:, :queries]
    chosen = (chosen + points * torch.arange(scans)[:, None]).flatten()
    along = torch.rand(scans * queries, 2, generator=generator)
    factor = torch.where(along[:, :1] < 0.67, 1 + 0.01 * (along[:, 1:] - 0.5), along[:, 1:])
    return {
        "pos": pos,
        "batch": torch.arange(scans).repeat_interleave(points),
        "pos_non_manifold": pos[chosen] * factor,
        "pos_non_manifold_batch": torch.arange(scans).repeat_interleave(queries),
        "latents": torch.randn(count, 128, generator=generator, requires_grad=True),
    }


def plain(net: InterpNet, batch: dict[str, Any], pairs: dict[str, Tensor]) -> Tensor:
    """The published formula: concatenate for every pair, then layer by layer."""
    relative = batch["pos_non_manifold"][pairs["pair_query"]] - batch["pos"][pairs["pair_support"]]
    hidden = net.fc_in(torch.cat([batch["latents"][pairs["pair_support"]], relative], dim=1))
    for layer in net.mlp_layers:
        hidden = layer(hidden.relu())
    out: Tensor = net.fc_out(hidden)
    return out


def tree_search(batch: dict[str, Any], radius: float) -> int:
    """All pairs by a k-d tree of the batch, scans far apart (no cap, no shuffle); counts them."""
    sides = [
        np.column_stack([batch[pos].numpy(), 1e3 * batch[scan].numpy()])
        for pos, scan in (("pos", "batch"), ("pos_non_manifold", "pos_non_manifold_batch"))
    ]
    return sum(map(len, cKDTree(sides[0]).query_ball_point(sides[1], radius, workers=-1)))


def timed(rivals: dict[str, Callable[[], Any]], *, rounds: int) -> dict[str, float]:
    """Median seconds of each rival, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds + 1):
        for name, run in rivals.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two scans instead of sixteen")
    scans = 2 if parser.parse_args().quick else 16
    batch = street(scans, points=16384, queries=2048)
    net = build_decoder("InterpNet", latent_size=128)
    pairs = net.search(batch)
    seconds = timed(
        {
            "search": lambda: net.search(batch),
            "k-d tree": lambda: tree_search(batch, net.radius),
            "decoder": lambda: net({**batch, **pairs})["predictions"].sum().backward(),
            "plain formula": lambda: plain(net, batch, pairs).sum().backward(),
        },
        rounds=3,
    )
    queries, found = len(batch["pos_non_manifold"]), len(pairs["pair_query"])
    table = Table("step", "ms", "times", title=f"{scans} scans, {queries} queries, {found} pairs")
    for name, rival in (("search", "k-d tree"), ("decoder", "plain formula")):
        table.add_row(name, f"{1e3 * seconds[name]:.0f}", "1.00")
        table.add_row(rival, f"{1e3 * seconds[rival]:.0f}", f"{seconds[rival] / seconds[name]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
