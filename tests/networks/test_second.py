"""SECOND: published names and files, spconv, places of the latents, and what may not matter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from also_selfsup.networks import build_backbone
from also_selfsup.networks.second_bev import compress_height
from also_selfsup.settings.names import UserError
from also_selfsup.sparseconv import get_backend

PUBLISHED = Path(__file__).parent / "published" / "SECOND.txt"
KITTI = [0.0, -40.0, -3.0, 70.4, 40.0, 1.0]
Make = Callable[..., Any]


def published() -> dict[str, tuple[int, ...]]:
    """The 156 names and shapes of the list, which has one line a convolution and its norm."""
    entries: dict[str, tuple[int, ...]] = {}
    for line in PUBLISHED.read_text().splitlines():
        name, *shape, _, norm, channels = line.split()
        entries[f"{name}.weight"] = tuple(map(int, shape))
        for part in ("weight", "bias", "running_mean", "running_var"):
            entries[f"{norm}.{part}"] = (int(channels),)
        entries[f"{norm}.num_batches_tracked"] = ()
    return entries


@pytest.mark.parametrize("extent", [KITTI, [0.0, -40.0, -5.0, 70.4, 40.0, 3.0]])
def test_names_shapes_and_order_are_openpcdets(extent: list[float]) -> None:
    with torch.device("meta"):
        net = build_backbone(
            "SECOND", in_channels=4, out_channels=128, voxel_size=[0.05, 0.05, 0.1], extent=extent
        )
    found = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    expected = published()
    assert len(expected) == 156
    assert list(found.items()) == [
        *expected.items(),
        ("dense_head.weight", (128, 512, 1, 1)),
        ("dense_head.bias", (128,)),
    ]


def test_constants_of_openpcdet(make_second: Make) -> None:
    norms = [m for m in make_second().modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 26 and {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    weight = build_backbone(
        "SECOND", in_channels=4, out_channels=7, voxel_size=0.1, extent=[0, 0, 0, 3.2, 3.2, 4]
    ).state_dict()["backbone_3d.conv_out.0.weight"]
    bound = (3 * 64) ** -0.5  # torch's own for a convolution of so many inputs
    assert 0.99 * bound < weight.abs().max() <= bound and abs(weight.mean()) < 0.02 * bound


def test_equals_spconv_on_one_thread(draw_second: Make, make_second: Make) -> None:
    pytest.importorskip("spconv", reason="the extra spconv is not installed")
    batch = draw_second(400, 250)
    with torch.no_grad():
        ours, theirs = (make_second(name).float().eval()(batch) for name in ("native", "spconv"))
    torch.testing.assert_close(ours["latents"], theirs["latents"], rtol=1e-5, atol=1e-5)
    assert torch.equal(ours["latents_pos"], theirs["latents_pos"])


def test_a_batch_of_two_is_two_batches_of_one_in_any_order(draw_second: Make, make_second: Make) -> None:
    both, net = draw_second(200, 320), make_second().eval()
    order = torch.randperm(520, generator=torch.Generator().manual_seed(1))
    mixed = {**both, **{name: both[name][order] for name in both if name != "sensor"}}
    singles = []
    for rows in (slice(0, 200), slice(200, 520)):
        one = {name: value[rows] for name, value in both.items() if name != "sensor"}
        one["voxel_coords_batch"] = one["voxel_coords_batch"] * 0
        singles.append(net(one)["latents"])
    before = {name: value.clone() for name, value in mixed.items()}
    found = net(mixed)
    torch.testing.assert_close(found["latents"], torch.cat(singles), rtol=0, atol=1e-10)
    torch.testing.assert_close(net(both)["latents"], found["latents"], rtol=0, atol=1e-10)
    assert mixed.keys() == before.keys() and all(mixed[name].equal(before[name]) for name in before)


def test_latents_lie_at_the_true_centres(draw_second: Make, make_second: Make) -> None:
    net = make_second()
    found = net.eval()(draw_second(9, 1, 9))
    expected = [
        (scan, 3.0 + 3.2 * (i + 0.5), -4.8 + 1.6 * (j + 0.5), 0.0)
        for scan in range(3)
        for j in range(6)
        for i in range(4)
    ]
    pos = torch.cat([found["latents_batch"][:, None].double(), found["latents_pos"]], dim=1)
    torch.testing.assert_close(pos, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert found["latents"].shape == (72, 7) and found["latents_batch"].dtype == torch.int64
    early = net.supports(draw_second(9, 1, 9))
    assert all(torch.equal(early[name], found[name]) for name in ("latents_pos", "latents_batch"))


def test_published_centres_reach_from_edge_to_edge(draw_second: Make, make_second: Make) -> None:
    pos = make_second(bev_centres="published").supports(draw_second(5))["latents_pos"].reshape(6, 4, 3)
    torch.testing.assert_close(pos[0, :, 0], torch.linspace(3.0, 15.8, 4, dtype=torch.float64))
    torch.testing.assert_close(pos[:, 0, 1], torch.linspace(-4.8, 4.8, 6, dtype=torch.float64))
    exact = make_second().supports(draw_second(5))["latents_pos"].reshape(6, 4, 3)
    torch.testing.assert_close((pos - exact)[0, [0, -1], 0], torch.tensor([-1.6, 1.6]).double())


def test_bfloat16_stays_near_single_precision(draw_second: Make, make_second: Make) -> None:
    batch, net = draw_second(400, 250), make_second().float().train()
    exact = net(batch)["latents"]
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(batch)
    rough["latents"].float().square().mean().backward()
    assert all(value.grad.isfinite().all() for value in net.parameters())
    assert (rough["latents"] - exact).square().mean().sqrt() < 0.2 * exact.std()
    assert rough["latents_pos"].dtype == torch.float32


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_a_taller_view_keeps_the_maximum_of_each_half(depth: int) -> None:
    coords = torch.nonzero(torch.rand(2, 3, 4, depth) < 0.5)
    feats = torch.rand(len(coords), 5)
    image = compress_height(get_backend("native").voxels(feats, coords), (3, 4, depth), scan_count=2)
    dense = torch.zeros(2, 5, 2, 4, 3)
    for (scan, x, y, z), row in zip(coords.tolist(), feats, strict=True):
        half = z // ((depth + 1) // 2)
        dense[scan, :, half, y, x] = torch.maximum(dense[scan, :, half, y, x], row)
    assert torch.equal(image, dense.reshape(2, 10, 4, 3))


@pytest.mark.parametrize("counts", [(), (0,), (0, 1)])
def test_no_voxel_and_one(counts: tuple[int, ...], draw_second: Make, make_second: Make) -> None:
    net = make_second().train()
    batch = {**draw_second(3), "sensor": torch.zeros(max(len(counts), 1), 3)}
    count = sum(counts)
    for name in ("voxel_coords", "voxel_coords_batch", "voxel_x"):
        batch[name] = batch[name][:count]
    latents = net(batch)["latents"]
    latents.square().sum().backward()
    assert latents.shape == (24 * max(len(counts), 1), 7) and latents.isfinite().all()
    assert all(value.isfinite().all() for value in net.state_dict().values())


NAMES = {
    "as they are": lambda state: state,
    "with model.": lambda state: {f"model.{name}": tensor for name, tensor in state.items()},
    "with a counter": lambda state: {**state, "global_step": torch.zeros(1, dtype=torch.int64)},
    "with both": lambda state: {
        f"model.{name}": tensor for name, tensor in {**state, "global_step": torch.zeros(1)}.items()
    },
    "with another last layer": lambda state: {
        name.replace("dense_head.", "model.fc."): tensor for name, tensor in state.items()
    },
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_published_names_load(kind: str, prefix: str, make_second: Make) -> None:
    state, net = make_second().state_dict(), make_second()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    whole = nn.ModuleDict({"backbone": net}) if prefix else net
    whole.load_state_dict({prefix + name: tensor for name, tensor in NAMES[kind](state).items()})
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_weights_without_latents_leave_the_last_layer(
    caplog: pytest.LogCaptureFixture, make_second: Make
) -> None:
    net = make_second()
    state = {name: tensor + 1 for name, tensor in net.state_dict().items() if "dense_head" not in name}
    before = net.dense_head.weight.detach().clone()
    net.load_state_dict(state)
    assert torch.equal(net.dense_head.weight, before) and "dense_head stays as it is" in caplog.text
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in state.items())
    with pytest.raises(RuntimeError, match=r"Missing key.*conv1\.0\.0\.weight"):
        net.load_state_dict({name: tensor for name, tensor in state.items() if "conv1.0.0" not in name})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extent": None}, "needs the extent"),
        ({"voxel_size": None}, "needs the extent"),
        ({"extent": [0, 0, 0, 1]}, "give six numbers"),
        ({"extent": [0, 0, 0, 6.4, -1, 4]}, "y: from 0 m to -1 m there is nothing"),
        (
            {"extent": [0, 0, 0, 6.5, 3.2, 4]},
            r"x: 0 m to 6.5 m holds 16.25 voxels of 0.4 m .* 6.4 m would do",
        ),
        ({"extent": [0, 0, 0, 3.2, 3.2, 4]}, "x: 8 voxels are no whole number of cells"),
        ({"extent": [0, 0, 0, 6.4, 3.2, 2]}, "z: 20 voxels; SECOND needs 24"),
    ],
)
def test_extents_that_do_not_fit_are_refused(options: dict[str, Any], words: str, make_second: Make) -> None:
    with pytest.raises(UserError, match=words):
        make_second(**options)
    with pytest.raises(UserError, match="MinkUNet18 sees all points"):
        build_backbone("MinkUNet18", in_channels=1, out_channels=2, extent=KITTI)
