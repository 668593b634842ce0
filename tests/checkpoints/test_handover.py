"""Weights go into every format and back bit for bit; what a format cannot hold is refused."""

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from also_selfsup.checkpoints.convert import convert, restore
from also_selfsup.checkpoints.handover import FORMATS, export, restore_ours
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint
from also_selfsup.checkpoints.take_over import take_over
from also_selfsup.networks import BACKBONES, build_backbone
from also_selfsup.settings.names import UserError

State = dict[str, Tensor]
NETWORKS = ("SECOND", "MinkUNet18", "MinkUNet18SC", "MinkUNet34", "SPVCNN", "SPVCNN0p5")
HOLDS = {  # which formats hold which network, as doc/detection.md says
    "SECOND": {"also", "openpcdet", "mmdet3d", "spconv"},
    "MinkUNet18": {"also", "spconv"},
    "MinkUNet34": {"also", "spconv"},
    **dict.fromkeys(("MinkUNet18SC", "SPVCNN", "SPVCNN0p5"), {"also", "mmdet3d", "spconv"}),
}
LAYOUTS = [("also", None), ("mmdet3d", None), *itertools.product(("openpcdet", "spconv"), (1, 2))]


@pytest.fixture(scope="module")
def states(fake: SimpleNamespace) -> dict[str, State]:
    """Weights of every network, without the last layer, which not every format holds."""
    found = {"SECOND": fake.second_state(thin=True)}
    for name in NETWORKS[1:]:
        network = BACKBONES[name]
        net = type(name, (network,), {"channels": tuple(width // 4 for width in network.channels)})(3, 8)
        found[name] = {n: t for n, t in net.state_dict().items() if not n.startswith("classifier.")}
    return found


def same(one: State, other: State) -> bool:
    return set(one) == set(other) and all(
        torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one
    )


def pairs() -> list[tuple[str, tuple[str, int | None], tuple[str, int | None]]]:
    """Every network with every pair of layouts that hold it."""
    return [
        (network, first, second)
        for network in ("SECOND", "MinkUNet18", "SPVCNN")
        for first, second in itertools.product(LAYOUTS, LAYOUTS)
        if first[0] in HOLDS[network] and second[0] in HOLDS[network]
    ]


@pytest.mark.parametrize(("network", "first", "second"), pairs())
def test_from_every_format_to_every_other_and_back(
    states: dict[str, State],
    network: str,
    first: tuple[str, int | None],
    second: tuple[str, int | None],
) -> None:
    state = states[network]
    for name, version in (first, second, first):
        table, left_out = export(state, name, spconv=version)
        state, more = restore_ours({FORMATS[name].table: table}, name)
        assert not left_out and not more
    assert same(state, states[network])


@pytest.mark.parametrize("network", NETWORKS)
def test_formats_hold_what_the_table_says(states: dict[str, State], network: str) -> None:
    assert set(BACKBONES) | {"SECOND"} <= set(HOLDS)
    for name in FORMATS:
        if name in HOLDS[network]:
            assert len(export(states[network], name)[0]) == len(states[network])
        else:
            with pytest.raises(CheckpointError, match="choose also|begins with two convolutions"):
                export(states[network], name)


def test_names_of_mmdet3d_for_second(states: dict[str, State]) -> None:
    table, _ = export(states["SECOND"], "mmdet3d")
    assert len(table) == 156
    # As SparseEncoder, SECOND and SECONDFPN number their modules.
    names = ["middle_encoder.conv_input.0.weight"]
    stages = {1: 1, 2: 3, 3: 3, 4: 3}
    names += [
        f"middle_encoder.encoder_layers.encoder_layer{stage}.{index}.0.weight"
        for stage, count in stages.items()
        for index in range(count)
    ]
    names += ["middle_encoder.conv_out.0.weight"]
    names += [f"backbone.blocks.{block}.{3 * n}.weight" for block in range(2) for n in range(6)]
    names += [f"neck.deblocks.{block}.0.weight" for block in range(2)]
    assert [name for name, value in table.items() if value.dim() > 1] == names
    # It turns kernels without a version number itself when it runs on spconv 2.x: outputs to the front.
    ours = states["SECOND"]["backbone_3d.conv2.0.0.weight"]
    theirs = table["middle_encoder.encoder_layers.encoder_layer2.0.0.weight"]
    assert torch.equal(torch.movedim(theirs, -1, 0), ours)


def test_names_of_mmdet3d_for_minkunet(states: dict[str, State]) -> None:
    table, _ = export(states["SPVCNN"], "mmdet3d")
    convolutions = {name for name, value in table.items() if name.endswith(".kernel")}
    blocks = [f"encoder.{level}.{block}" for level in range(4) for block in (1, 2)] + [
        f"decoder.{level}.1.{block}" for level in range(4) for block in (0, 1)
    ]
    heads = [f"{side}.{level}.0.net.0" for side in ("encoder", "decoder") for level in range(4)]
    expected = {f"backbone.{block}.net.{n}.kernel" for block in blocks for n in (0, 3)}
    expected |= {f"backbone.{head}.kernel" for head in heads}
    expected |= {f"backbone.conv_input.{n}.net.0.kernel" for n in range(2)}
    shortcuts = {name for name in convolutions if ".downsample.0." in name}
    assert convolutions - shortcuts == expected and len(shortcuts) == 7
    assert {name.split(".downsample")[0].removeprefix("backbone.") for name in shortcuts} <= set(blocks)
    assert sum(name.startswith("backbone.point_transforms.") for name in table) == 3 * 7


def test_layout_of_spconv_for_minkunet(states: dict[str, State]) -> None:
    state = states["MinkUNet18"]
    two, one = (export(state, "spconv", spconv=version)[0] for version in (2, 1))
    odd, even, point = (f"{n}.kernel" for n in ("stem.0", "stage2.0.net.0", "stage2.1.downsample.0"))
    # Published order of cells: x fastest in odd kernels, z fastest in even ones; spconv's is x, y, z.
    for x, y, z in itertools.product(range(3), repeat=3):
        assert torch.equal(two[odd][:, x, y, z].T, state[odd][9 * z + 3 * y + x])
        assert torch.equal(one[odd][x, y, z], state[odd][9 * z + 3 * y + x])
    for x, y, z in itertools.product(range(2), repeat=3):
        assert torch.equal(two[even][:, x, y, z].T, state[even][4 * x + 2 * y + z])
    assert torch.equal(two[point][:, 0, 0, 0].T, state[point])
    assert two.keys() == state.keys()
    assert all(torch.equal(two[name], state[name]) for name in state if not name.endswith("kernel"))


def test_files_of_every_format(fake: SimpleNamespace, tmp_path: Path) -> None:
    state = fake.second_state(thin=True)
    start = fake.write_pretraining(tmp_path / "last.ckpt", state)
    files = [convert(start, to=name, spconv=version)[0] for name, version in LAYOUTS]
    names = ["also", "mmdet3d", "openpcdet_spconv1", "openpcdet", "spconv_spconv1", "spconv"]
    stems = [f"pretrained_backbone_075_{name}" for name in names]
    stems[3] = "pretrained_backbone_075"  # the usual one
    assert [file.path.stem for file in files] == stems
    assert [file.count for file in files] == [158, 156, 156, 156, 158, 158]
    for file, (name, _) in zip(files, LAYOUTS, strict=True):
        content = read_checkpoint(file.path)
        assert (content["part"], content["epoch"]) == ("backbone", 75)
        back = take_over(file.path, name, out=tmp_path / "back")
        assert back.path.name == "pretrained_backbone_075_also.ckpt"
        found = read_checkpoint(back.path)
        assert same({n: t for n, t in found["state_dict"].items() if n in state}, state)
        assert (found["epoch"], found["global_step"], found["version"]) == (75, 5, 1)
        table = read_checkpoint(restore(file.path, out=tmp_path / "back").path)["state_dict"]
        assert all(torch.equal(table[f"backbone.{name}"], value) for name, value in state.items())
        assert torch.equal(
            table["decoder.fc_in.weight"], read_checkpoint(start)["state_dict"]["decoder.fc_in.weight"]
        )


def test_fine_tuned_network_goes_to_mmdet3d(tmp_path: Path) -> None:
    net = build_backbone("SPVCNN0p5", in_channels=4, out_channels=20)
    torch.save({"state_dict": {f"net.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "last.ckpt")
    (written,) = convert(tmp_path / "last.ckpt", downstream=True, to="mmdet3d")
    assert written.path.name == "trained_model_000_mmdet3d.ckpt"
    assert written.notes == ("left out 2 that have no place there: classifier.0.weight, classifier.0.bias",)
    segmentor = {**read_checkpoint(written.path)["state_dict"], "decode_head.cls_seg.weight": torch.ones(3)}
    torch.save({"state_dict": segmentor, "meta": {}}, tmp_path / "segmentor.pth")
    back = take_over(tmp_path / "segmentor.pth", "mmdet3d")
    truth = {n: t for n, t in net.state_dict().items() if not n.startswith("classifier")}
    assert same(read_checkpoint(back.path)["state_dict"], truth)
    assert back.notes == ("left out 1 that have no place there: decode_head.cls_seg.weight",)


def test_refusals(fake: SimpleNamespace, states: dict[str, State], tmp_path: Path) -> None:
    def saved(content: object, name: str) -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    detector = saved({"model_state": fake.detector_state()}, "second.pth")
    with pytest.raises(CheckpointError, match=r"second\.pth: .*--from openpcdet --to FORMAT"):
        convert(detector)
    with pytest.raises(CheckpointError, match="names are those of openpcdet: --from openpcdet"):
        take_over(detector, "mmdet3d")
    theirs = saved({"state_dict": export(states["SPVCNN"], "mmdet3d")[0]}, "mink.pth")
    with pytest.raises(CheckpointError, match=r"mink\.pth: .*a checkpoint of mmdet3d; --from mmdet3d"):
        convert(theirs)
    with pytest.raises(CheckpointError, match="those of mmdet3d: --from mmdet3d"):
        take_over(theirs, "also")
    other = saved({"state_dict": {"backbone.conv_input.0.0.weight": torch.ones(3)}}, "spconv.pth")
    with pytest.raises(CheckpointError, match="another backend than torchsparse"):
        take_over(other, "mmdet3d")
    ours = saved({"state_dict": states["SECOND"]}, "x_also.ckpt")
    with pytest.raises(CheckpointError, match=r"x_also\.ckpt: the result would replace it; .*--out"):
        take_over(ours, "also")
    run = fake.write_pretraining(tmp_path / "last.ckpt", fake.second_state(thin=True))
    with pytest.raises(CheckpointError, match="checkpoint of a pre-training run, .*; leave --from out"):
        take_over(run, "also")
    with pytest.raises(
        CheckpointError, match="--spconv 1: mmdet3d has one layout of its own; .*openpcdet and spc"
    ):
        convert(run, to="mmdet3d", spconv=1)
    with pytest.raises(UserError, match=re.escape("format (--to) 'pcdet': choose one of")):
        convert(run, to="pcdet")
    stranger = saved({"state_dict": {"backbone.x.weight": torch.ones(3)}}, "x.ckpt")
    with pytest.raises(
        CheckpointError, match=r"x\.ckpt: not the weights of one of our networks: .*x\.weight"
    ):
        convert(stranger, to="spconv")
    plain = saved({"state_dict": states["MinkUNet18"]}, "m.ckpt")
    with pytest.raises(
        CheckpointError, match=r"stem\.0\.kernel has shape \(27, 3, 8\).*need no --from spconv"
    ):
        take_over(plain, "spconv")
    with pytest.raises(CheckpointError, match="--to openpcdet: holds no network of the MinkUNet family"):
        take_over(plain, "also", to="openpcdet")
