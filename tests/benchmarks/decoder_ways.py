"""For decoder_gpu.py: three ways through the decoder, and whether they say the same as float64 does."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from decoder import plain, street
from rich.console import Console
from rich.table import Table
from torch import Tensor

from also_selfsup.evaluation import iou
from also_selfsup.losses import occupancy
from also_selfsup.losses.occupancy import weighted_losses
from also_selfsup.networks import InterpNet, build_decoder, interpnet, interpnet_fused
from also_selfsup.networks.neighbours import radius_pairs
from also_selfsup.networks.pairs import search

WEIGHTS = {"recons": 1.0, "intensity": 1.0}
Way = Callable[[InterpNet, dict[str, Any]], dict[str, Tensor]]


@contextmanager
def torch_alone() -> Iterator[None]:
    """No kernels of ours."""
    with ExitStack() as stack:
        for module, name in (
            (interpnet, "searchable"),
            (interpnet_fused, "suits"),
            (occupancy, "fusible"),
            (iou, "countable"),
        ):
            stack.enter_context(patch.object(module, name, lambda *_, **__: False))
        yield


def batch_of(scans: int, dtype: torch.dtype = torch.bfloat16) -> dict[str, Any]:
    """Streets on the GPU, with targets; latents as the backbone gives them."""
    batch = street(scans, points=16384, queries=2048)
    generator = torch.Generator().manual_seed(1)
    count = len(batch["pos_non_manifold"])
    hit = torch.rand(count, 1, generator=generator)
    batch["occupancies"] = torch.randint(0, 2, (count,), generator=generator)
    batch["intensities_non_manifold"] = torch.where(hit < 0.33, -1.0, hit)
    batch = {name: value.detach().cuda() for name, value in batch.items()}
    return {**batch, "latents": batch["latents"].to(dtype).requires_grad_()}


def kernels(net: InterpNet, batch: dict[str, Any]) -> dict[str, Tensor]:
    return net(batch)


def folded(net: InterpNet, batch: dict[str, Any]) -> dict[str, Tensor]:
    with torch_alone():
        return net(batch)


def published(net: InterpNet, batch: dict[str, Any]) -> dict[str, Tensor]:
    predictions = plain(net, batch, batch)
    pairs = {key: batch[key] for key in ("pair_query", "pair_support")}
    return {"occupancy_logits": predictions[:, 0], "intensity_predictions": predictions[:, 1], **pairs}


WAYS: dict[str, Way] = {"kernels": kernels, "folded": folded, "plain": published}


def outcome(net: InterpNet, batch: dict[str, Any], way: Way) -> dict[str, Tensor]:
    """Losses and all gradients."""
    results = way(net, batch)
    with ExitStack() as stack:
        if way is not kernels:
            stack.enter_context(torch_alone())
        losses = weighted_losses({**batch, **results}, WEIGHTS)
    names = ["latents", *dict(net.named_parameters())]
    grads = torch.autograd.grad(losses["total"], [batch["latents"], *net.parameters()])
    return {**losses, **dict(zip(names, grads, strict=True))}


def errors(console: Console) -> None:
    """Relative errors of losses and gradients in bfloat16 and float16 beside the plain formula in float64."""
    net = build_decoder("InterpNet", latent_size=128).cuda()
    batch = batch_of(2)
    pairs = dict(zip(("pair_query", "pair_support"), net.search(batch)["pairs"].exact(), strict=True))
    double = {key: v.double() if v.is_floating_point() else v for key, v in batch.items()}
    double["latents"] = batch["latents"].detach().double().requires_grad_()
    truth = outcome(build_copy(net).double(), {**double, **pairs}, published)
    columns: dict[str, dict[str, Tensor]] = {}
    for dtype, (name, way) in itertools.product((torch.bfloat16, torch.float16), WAYS.items()):
        # Times 4096: float16 would lose the gradients of a mean over so many pairs.
        some = {**batch, **pairs, "latents": batch["latents"].detach().to(dtype).requires_grad_()}
        with torch.autocast("cuda", dtype), patch.dict(WEIGHTS, dict.fromkeys(WEIGHTS, 4096.0)):
            found = outcome(net, some, way)
        columns[f"{name} {str(dtype)[6:]}"] = found
    table = Table("relative error", *columns, title=f"beside float64, {len(pairs['pair_query'])} pairs")
    for key, exact in truth.items():
        scale = 1 if key in WEIGHTS else 4096
        cells = [float((c[key].double() / scale - exact).norm() / exact.norm()) for c in columns.values()]
        table.add_row(key, *(f"{cell:.1e}" for cell in cells))
        kernel, beside = cells[0], max(cells[1], cells[2])
        assert kernel < 2 * beside + 1e-3, f"{key}: {kernel} where torch has {beside}"
    console.print(table)


def build_copy(net: InterpNet) -> InterpNet:
    """A decoder with the same weights."""
    copy = build_decoder("InterpNet", latent_size=128).cuda()
    copy.load_state_dict(net.state_dict())
    return copy


def check_search(console: Console) -> None:
    """All pairs of two scans equal torch's search; the cap keeps a uniform share of each ball."""
    batch = batch_of(2)
    for axes, limit in ((3, 3000), (2, 3000)):
        where = {"query_batch": batch["pos_non_manifold_batch"], "support_batch": batch["batch"]}
        query, support = batch["pos_non_manifold"], batch["pos"]
        ours = search(query, support, **where, radius=1.0, axes=axes, limit=limit).exact()
        theirs = radius_pairs(query[:, :axes], support[:, :axes], **where, radius=1.0, limit=limit)
        in_ball = theirs[0].bincount(minlength=len(query))
        assert in_ball.max() < limit and ours[0].equal(theirs[0])
        keys = [(q * len(support) + s).sort().values for q, s in (ours, theirs)]
        assert keys[0].equal(keys[1])
        draws = [search(query, support, **where, radius=1.0, axes=axes, limit=32).exact() for _ in range(100)]
        chosen = torch.cat([q * len(support) + s for q, s in draws])
        times = torch.searchsorted(keys[1], chosen).bincount(minlength=len(keys[1]))
        share = (32 / in_ball.clamp(min=32))[keys[1] // len(support)].double()
        free = share < 1
        assert (times[~free] == len(draws)).all()
        spread = (times - len(draws) * share)[free] ** 2 / (len(draws) * share * (1 - share))[free]
        console.print(f"search in {axes} axes: {len(ours[0])} pairs as torch finds them; spread of the draws "
                      f"{spread.mean():.4f} (1 for uniform ones)")  # fmt: skip
        assert abs(spread.mean() - 1) < 0.1
