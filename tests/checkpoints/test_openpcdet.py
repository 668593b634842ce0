"""OpenPCDet's rule of loading, written again, finds all 156 weights of the backbone in a converted file."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from also_selfsup.checkpoints import second
from also_selfsup.checkpoints.convert import convert
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.checkpoints.take_over import take_over

State = dict[str, Tensor]


def load_params_from_file(path: Path, detector: State) -> State:
    """What `load_params_from_file` of a detector copies from a file: entries of the same name and shape.

    Kernels of another shape are tried in the layouts of other versions of spconv, as OpenPCDet does: inputs
    and outputs swapped, then outputs first.
    """
    found = {}
    for name, value in torch.load(path, map_location="cpu", weights_only=True)["model_state"].items():
        if name in detector and detector[name].dim() == 5 and detector[name].shape != value.shape:
            if value.transpose(-1, -2).shape == detector[name].shape:
                value = value.transpose(-1, -2)
            elif value.permute(4, 0, 1, 2, 3).shape == detector[name].shape:
                value = value.permute(4, 0, 1, 2, 3)
        if name in detector and detector[name].shape == value.shape:
            found[name] = value
    return found


def spconv_1(state: State) -> State:
    """The same weights as a detector on spconv 1.x has them: inputs and outputs last."""
    moved = {name: torch.movedim(value, 0, -1) for name, value in state.items() if value.dim() == 5}
    return {**state, **moved}


def equal(found: State, truth: State) -> bool:
    return set(found) == set(truth) and all(torch.equal(found[name], truth[name]) for name in truth)


def test_table_is_that_of_openpcdet(fake: SimpleNamespace) -> None:
    assert second.SHAPES == fake.second_shapes() and list(second.SHAPES) == list(fake.second_shapes())
    assert len(second.SHAPES) == 156 and len(second.KERNEL_SIZES) == 12


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("roi_head", [False, True])
def test_all_weights_of_the_backbone_are_found(
    fake: SimpleNamespace, tmp_path: Path, prefix: str, roi_head: bool
) -> None:
    state, detector = fake.second_state(seed=1), fake.detector_state(seed=2)
    if roi_head:  # PV-RCNN: more heads around the same backbone
        detector |= {"roi_head.cls_layers.0.weight": torch.randn(256, 256, 1), "pfe.x.weight": torch.randn(3)}
    written = convert(fake.write_pretraining(tmp_path / "last.ckpt", state, prefix=prefix))
    assert [file.path.name for file in written] == [
        "pretrained_backbone_075.ckpt",
        "pretrained_classifier_075.ckpt",
    ]
    found = load_params_from_file(written[0].path, detector)
    assert len(found) == written[0].count == 156 and equal(found, state)
    content = torch.load(written[0].path, weights_only=True)
    assert list(content["model_state"]) == list(fake.second_shapes())
    assert all(value.is_contiguous() for value in content["model_state"].values())
    assert "version" not in content  # OpenPCDet would show it as its own
    assert written[0].notes == ("left out 2 that have no place there: dense_head.weight, dense_head.bias",)


@pytest.mark.parametrize("file_of", [1, 2])
@pytest.mark.parametrize("detector_on", [1, 2])
def test_versions_of_spconv(fake: SimpleNamespace, tmp_path: Path, file_of: int, detector_on: int) -> None:
    state, detector = fake.second_state(seed=1), fake.detector_state(seed=2)
    written = convert(fake.write_pretraining(tmp_path / "last.ckpt", state), to="openpcdet", spconv=file_of)
    table = torch.load(written[0].path, weights_only=True)["model_state"]
    truth = state if file_of == 2 else spconv_1(state)
    assert equal(table, truth) and written[0].path.stem.endswith("_spconv1") == (file_of == 1)
    found = load_params_from_file(written[0].path, detector if detector_on == 2 else spconv_1(detector))
    # From 2.x to 1.x OpenPCDet does not turn the kernels: hence the option.
    lost = 12 if (file_of, detector_on) == (2, 1) else 0
    assert len(found) == 156 - lost
    if not lost:
        assert equal(found, state if detector_on == 2 else spconv_1(state))


@pytest.mark.parametrize("version", [1, 2])
def test_detector_becomes_a_start(fake: SimpleNamespace, tmp_path: Path, version: int) -> None:
    detector = fake.detector_state(seed=3)
    content = {"epoch": 80, "it": 37120, "version": "pcdet+0.6.0", "optimizer_state": None}
    table = detector if version == 2 else spconv_1(detector)
    torch.save({"model_state": table, **content}, tmp_path / "second.pth")
    written = take_over(tmp_path / "second.pth", "openpcdet")
    assert (written.path.name, written.count) == ("second_also.ckpt", 156)
    assert written.notes[0].startswith(
        "left out 7 that have no place there: global_step, dense_head.conv_cls"
    )
    found = torch.load(written.path, weights_only=True)
    assert equal(found["state_dict"], fake.second_state(seed=3)) and found["part"] == "backbone"


def test_other_height_of_the_range_is_told(fake: SimpleNamespace, tmp_path: Path) -> None:
    state = fake.second_state()
    state["backbone_2d.blocks.0.1.weight"] = torch.randn(128, 512, 3, 3)
    (written, _) = convert(fake.write_pretraining(tmp_path / "last.ckpt", state))
    assert len(load_params_from_file(written.path, fake.detector_state())) == 155
    assert (
        "1 of another shape" in written.notes[1] and "(128, 512, 3, 3), there (128, 256" in written.notes[1]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone_3d.conv_out.0.weight": None}, "1 of the 156 weights of SECOND's backbone are missing"),
        ({"backbone_3d.conv1.0.0.weight": (16, 5, 3, 3, 16)}, r"conv1\.0\.0\.weight has shape \(16, 5, 3"),
        ({"backbone_3d.conv1.0.0.weight": (3, 3, 3, 16, 16)}, "all of a file alike"),
        ({"backbone_3d.conv1.0.0.weight": (27, 16, 16)}, r"\(O, 3, 3, 3, I\) for spconv 2.x or \(3, 3, 3, I"),
    ],
)
def test_what_is_no_second_is_refused(
    fake: SimpleNamespace, tmp_path: Path, change: dict[str, tuple[int, ...] | None], message: str
) -> None:
    state = fake.second_state()
    for name, shape in change.items():
        state[name] = torch.zeros(shape or 0)
        if shape is None:
            del state[name]
    path = fake.write_pretraining(tmp_path / "last.ckpt", state)
    with pytest.raises(CheckpointError, match=rf"last\.ckpt: .*{message}"):
        convert(path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
