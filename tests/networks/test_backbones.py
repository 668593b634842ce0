"""Every backbone with latents at the points: published names, and what must not change the answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from also_selfsup.networks import BACKBONES, DECODERS, Backbone, build_backbone, build_decoder

Make = Callable[..., Any]

PUBLISHED = Path(__file__).parent / "published"
ALL = sorted(name for name, network in BACKBONES.items() if issubclass(network, Backbone))
# One of each kind: the others share their code.
KINDS = ["MinkUNet18SC", "SPVCNN"]


def expand(line: str) -> list[tuple[str, tuple[int, ...]]]:
    """One line of a table in `published/` to the entries of a state dict."""
    name, kind, *numbers = line.split()
    shape = tuple(map(int, numbers))
    if kind.startswith("conv"):
        entries, width = [(f"{name}.kernel", shape)], shape[-1]
    else:
        entries, width = [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])], shape[0]
    if kind.endswith("+norm"):
        head, number = name.rsplit(".", 1)
        norm = f"{head}.{int(number) + 1}"
        entries += [
            (f"{norm}.{part}", (width,)) for part in ("weight", "bias", "running_mean", "running_var")
        ]
        entries.append((f"{norm}.num_batches_tracked", ()))
    return entries


@pytest.mark.parametrize("name", [*ALL, *DECODERS])
def test_names_shapes_and_order_are_the_published_ones(name: str) -> None:
    lines = (PUBLISHED / f"{name}.txt").read_text().splitlines()
    with torch.device("meta"):
        if name in BACKBONES:
            net: nn.Module = build_backbone(name, in_channels=1, out_channels=128)
        else:
            net = build_decoder(name, latent_size=128)
    found = [(key, tuple(value.shape)) for key, value in net.state_dict().items()]
    assert found == [entry for line in lines for entry in expand(line)]


def permuted(batch: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """The same batch with voxels in another order, scans mixed."""
    order = torch.randperm(len(batch["voxel_x"]), generator=torch.Generator().manual_seed(1))
    moved = {key: batch[key][order] for key in ("voxel_coords", "voxel_coords_batch", "voxel_x")}
    return {**moved, "voxel_to_pc_id": order.argsort()[batch["voxel_to_pc_id"]]}, order


@pytest.mark.parametrize("name", KINDS)
def test_the_order_of_voxels_does_not_matter(name: str, make_batch: Make, make_net: Make) -> None:
    batch, net = make_batch(), make_net(name).eval()
    torch.testing.assert_close(net(permuted(batch)[0])["latents"], net(batch)["latents"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_of_two_is_two_batches_of_one(name: str, make_batch: Make, make_net: Make) -> None:
    net = make_net(name).eval()
    both = make_batch((30, 50))
    both["voxel_to_pc_id"] = torch.arange(80)
    parts = [
        {
            "voxel_coords": both["voxel_coords"][rows],
            "voxel_coords_batch": torch.zeros(rows.stop - rows.start, dtype=torch.int64),
            "voxel_x": both["voxel_x"][rows],
            "voxel_to_pc_id": torch.arange(rows.stop - rows.start),
        }
        for rows in (slice(0, 30), slice(30, 80))
    ]
    single = torch.cat([net(part)["latents"] for part in parts])
    torch.testing.assert_close(net(both)["latents"], single, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_gets_a_gradient_and_batches_stay(
    name: str, make_batch: Make, make_net: Make
) -> None:
    batch, net = make_batch(), make_net(name).eval()
    before = {key: value.clone() for key, value in batch.items()}
    net(batch)["latents"].square().sum().backward()
    without = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []
    assert batch.keys() == before.keys() and all(batch[key].equal(before[key]) for key in before)


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_stays_near_single_precision(name: str, make_batch: Make, make_net: Make) -> None:
    batch, net = make_batch(), make_net(name).float().train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    exact = net(batch)["latents"]
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(batch)["latents"]
        rough.float().square().mean().backward()
    assert all(value.grad.isfinite().all() for value in net.parameters())
    assert (rough - exact).square().mean().sqrt() < 0.2 * exact.std()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("count", [0, 1])
def test_trains_on_one_voxel_and_on_none(name: str, count: int, make_batch: Make, make_net: Make) -> None:
    net, batch = make_net(name).train(), make_batch((count,))
    latents = net(batch)["latents"]
    latents.sum().backward()
    assert latents.shape == (2 * count, 5) and latents.isfinite().all()
    assert all(value.isfinite().all() for value in net.state_dict().values())


def test_dropout_of_spvcnn_acts_in_training_only(make_batch: Make, make_net: Make) -> None:
    batch, net = make_batch(), make_net("SPVCNN")
    rates = [module.p for module in net.modules() if isinstance(module, nn.Dropout)]
    assert rates and set(rates) == {0.3}
    assert not net.train()(batch)["latents"].equal(net(batch)["latents"])
    assert net.eval()(batch)["latents"].equal(net(batch)["latents"])


def test_published_initialisation() -> None:
    net = build_backbone("SPVCNN0p5", in_channels=2, out_channels=5)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
    assert norms and all(norm.weight.eq(1).all() and norm.bias.eq(0).all() for norm in norms)
    kernel = net.state_dict()["stage4.1.net.3.kernel"]
    bound = (27 * kernel.shape[1]) ** -0.5
    assert 0.99 * bound < kernel.abs().max() <= bound and abs(kernel.mean()) < 0.01 * bound


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="MinkUNet18, MinkUNet18SC, MinkUNet34, SECOND, SPVCNN, SPVCNN0p5"):
        build_backbone("MinkUNet50", in_channels=1, out_channels=2)
    with pytest.raises(ValueError, match="native, spconv"):
        build_backbone("MinkUNet18", in_channels=1, out_channels=2, framework="spconf")
    with pytest.raises(ValueError, match="InterpNet"):
        build_decoder("Interpnet", latent_size=2)
