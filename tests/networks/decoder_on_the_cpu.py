"""Run by test_interpnet_triton.py: search, decoder, losses, scores in Triton's interpreter; prints JSON."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import copy
import itertools
import json
import sys
from typing import Any
from unittest.mock import patch

import torch
import triton.language as tl
from launch_counts import counted
from torch import Tensor

from also_selfsup.evaluation import iou
from also_selfsup.losses import occupancy
from also_selfsup.losses.occupancy import weighted_losses
from also_selfsup.networks import (
    InterpNet,
    build_decoder,
    interpnet,
    interpnet_fused,
    neighbours_triton,
)
from also_selfsup.networks import pairs as pairs_module
from also_selfsup.networks.pairs import search

# Queries, supports, radius and spread in metres.
CLOUDS = (3, 1, 2.0, 0.3), (8, 9, 0.7, 0.3), (12, 150, 1.5, 0.7), (6, 60, 40.0, 1.0)
WEIGHTS = {"recons": 2.0, "intensity": 1.0}


def cloud(count: int, *, seed: int, spread: float = 1.0, at: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator) * torch.tensor([3.0, 5.0, 0.7]) * spread + at


def brute_force(query: Tensor, support: Tensor, scans: tuple[Tensor, Tensor], *, radius: float) -> set:
    squared = (query[:, None].double() - support.double()).square().sum(dim=2)
    near = (squared < radius**2) & (scans[0][:, None] == scans[1])
    return {(int(q), int(s)) for q, s in near.nonzero()}


def searches() -> dict[str, Any]:
    """Pairs that differ from brute force, by case; few supports make columns share numbers."""
    wrong: dict[str, Any] = {}
    for axes, (queries, supports, radius, spread) in itertools.product((2, 3), CLOUDS):
        query, support = (
            cloud(count, seed=seed, spread=spread, at=-1e3) for seed, count in enumerate((queries, supports))
        )
        scans = torch.tensor([0, 1, 5])[torch.arange(queries) % 3], torch.arange(supports) % 2
        where = {"query_batch": scans[0], "support_batch": scans[1], "radius": radius, "axes": axes}
        expected = brute_force(query[:, :axes], support[:, :axes], scans, radius=radius)
        pairs = search(query, support, **where, limit=supports)
        found = [tuple(pair) for pair in torch.stack(pairs.exact(), dim=1).tolist()]
        rest = pairs.query[len(found) :].tolist() + pairs.support[len(found) :].tolist()
        rest += (pairs.keys[len(found) :] - supports - 1).tolist()
        fine = pairs.keys[: len(found)].tolist() == [support for _, support in found]
        fine &= sorted(expected) == sorted(found) and found == sorted(found, key=lambda pair: pair[0])
        capped = search(query, support, **where, limit=3).exact()
        in_ball = torch.tensor([q for q, _ in expected], dtype=torch.int64).bincount(minlength=queries)
        fine &= capped[0].bincount(minlength=queries).equal(in_ball.clamp(max=3))
        fine &= {tuple(pair) for pair in torch.stack(capped, dim=1).tolist()} <= expected
        name = f"{axes} axes, {supports} supports, radius {radius}"
        wrong[name] = [len(expected), bool(fine), all(value == -1 for value in rest)]
    return wrong


def one_search() -> dict[str, int]:
    """What the host does for one."""
    positions, scans = cloud(4, seed=1), torch.zeros(4, dtype=torch.int64)
    with counted() as counts:
        search(positions, positions, query_batch=scans, support_batch=scans, radius=1.0)
    return dict(counts)


def draws(times: int, *, supports: int, kept: int) -> float:
    """Chi-squared of how often each of the supports in one ball is kept; degrees of freedom: supports - 1."""
    support = torch.stack([torch.linspace(-0.9, 0.9, supports), *torch.zeros(2, supports)], dim=1)
    zeros, generator = torch.zeros(supports, dtype=torch.int64), torch.Generator().manual_seed(0)
    where = {"query_batch": zeros[:1], "support_batch": zeros, "radius": 1.0, "limit": kept}
    chosen = [search(torch.zeros(1, 3), support, **where, generator=generator).support for _ in range(times)]
    expected = times * kept / supports
    misses = torch.cat(chosen).bincount(minlength=supports) - expected
    return float((misses**2).sum() / (expected * (1 - kept / supports)))


def refused() -> str:
    """What a position that is not finite is answered with."""
    support = torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0]])
    zeros = torch.zeros(2, dtype=torch.int64)
    pairs = search(support[:1], support, query_batch=zeros[:1], support_batch=zeros, radius=1.0)
    try:
        pairs.exact()
    except ValueError as error:
        return str(error)
    return ""


def batch_of(size: int) -> dict[str, Any]:
    torch.manual_seed(0)
    supports, queries = 120, 20
    return {
        "pos": cloud(supports, seed=3, spread=0.3),
        "batch": torch.arange(supports) * 2 // supports,
        "latents": torch.randn(supports, size),
        "pos_non_manifold": cloud(queries, seed=4, spread=0.3),
        "pos_non_manifold_batch": torch.arange(queries) * 2 // queries,
        "occupancies": torch.randint(0, 2, (queries,)),
        "intensities_non_manifold": torch.where(torch.rand(queries, 1) < 0.3, -1.0, torch.rand(queries, 1)),
    }


def outcome(net: InterpNet, batch: dict[str, Any], *, real: Tensor) -> dict[str, Tensor]:
    """Predictions, losses, scores and all gradients in float64."""
    batch = {**batch, "latents": batch["latents"].clone().requires_grad_()}
    fields = {**batch, **net(batch)}
    losses = weighted_losses(
        fields, {name: weight for name, weight in WEIGHTS.items() if name in fields["use"]}
    )
    extra = (fields["predictions"][: len(real)] * real[:, None]).sum()
    (losses["total"] + extra).backward()
    metrics = iou.OccupancyMetrics()
    metrics.update(fields["occupancy_logits"], fields["pair_query"], occupancies=fields["occupancies"])
    found = {"predictions": fields["predictions"][: len(real)], **losses, "latents": batch["latents"].grad}
    found |= {"pairs": metrics.pair_matrix, "queries": metrics.query_matrix}
    found |= {name: parameter.grad for name, parameter in net.named_parameters()}
    return {name: value.detach().double() for name, value in found.items()}


def plain_ways(on: bool) -> None:
    for module, name in ((interpnet_fused, "suits"), (occupancy, "fusible"), (iou, "countable")):
        setattr(module, name, lambda *_: not on)


def as_double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def errors(size: int, outputs: int, static: bool, axes: int) -> dict[str, float]:
    """Relative errors of the kernels beside the plain decoder, losses and scores in float64."""
    batch = {**batch_of(size), "use": WEIGHTS if outputs == 2 else ("recons",)}
    net = build_decoder("InterpNet", latent_size=size, out_channels=outputs, column_search=axes == 2)
    net.limit, net.static = 8, static
    batch |= net.search(batch, torch.Generator().manual_seed(1))
    query, support = batch["pairs"].exact()
    real = torch.linspace(-1, 1, len(query))
    exact = {key: as_double(value) for key, value in batch.items()}
    del exact["pairs"]
    plain_ways(on=True)
    exact |= {"pair_query": query, "pair_support": support}
    truth = outcome(copy.deepcopy(net).double(), exact, real=real)
    plain_ways(on=False)
    ours = outcome(net, batch, real=real)
    return {name: float((ours[name] - value).norm() / value.norm()) for name, value in truth.items()}


def main() -> None:
    """Compare; print."""
    found: dict[str, Any] = {"one search": one_search(), "searches": searches()}
    # Several blocks of supports and groups of queries.
    with patch.object(neighbours_triton, "GROUP", tl.constexpr(4)), patch.object(pairs_module, "ROWS", 32):
        found["searches"] |= {f"{name}, in blocks": case for name, case in searches().items()}
    found |= {"draws": draws(80, supports=30, kept=10)}
    found["refused"] = refused()
    interpnet.searchable = lambda *_, **__: True
    cases = [(32, 2, False, 3), (16, 1, True, 2), (16, 2, True, 3)]
    # Autocast itself knows no float32: the kernels' arithmetic without rounding in between.
    for name, dtype in (("half", torch.float16), ("single", torch.float32)):
        torch.get_autocast_dtype = lambda _, dtype=dtype: dtype
        found[name] = {str(case): errors(*case) for case in (cases[:1] if name == "half" else cases)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
