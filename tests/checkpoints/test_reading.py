"""Reading checkpoints of every age gives the very tensors that torch reads; damaged files are refused."""

import argparse
import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool]


def save(content: object, path: Path, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def published(state: dict[str, Tensor]) -> dict[str, object]:
    """What Lightning 1.x leaves in a checkpoint beside the weights."""
    return {
        "epoch": 199,
        "global_step": 1234,
        "pytorch-lightning_version": "1.6.5",
        "state_dict": state,
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(0.5), "monitor": "val/iou"}},
        "hyper_parameters": OmegaConf.create({"cfg": {"network": {"backbone": "MinkUNet34"}}}),
        "arguments": argparse.Namespace(seed=1),
        "best": np.float64(0.25),
        "lr_schedulers": [{"last_epoch": 3, "base_lrs": [0.001]}],
    }


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Tensors as views may make them: sliced, transposed, stretched, empty."""
    size = draw(st.lists(st.integers(0, 4), min_size=0, max_size=3))
    values = torch.randint(-100, 100, size, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    values = values.to(draw(st.sampled_from(DTYPES)))
    shape = draw(st.sampled_from(["plain", "transposed", "sliced", "stretched"]))
    if shape == "transposed":
        return values.permute(tuple(range(values.ndim - 1, -1, -1)))
    if shape == "sliced" and values.ndim:
        return values[1:]
    return values.unsqueeze(0).expand(3, *values.shape) if shape == "stretched" else values


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(tensors(), min_size=1, max_size=4), legacy=st.booleans(), alien=st.booleans())
def test_tensors_are_those_torch_reads(
    tmp_path: Path, values: list[Tensor], legacy: bool, alien: bool
) -> None:
    content = {f"t{i}": value for i, value in enumerate(values)}
    aliens = {"alien": argparse.Namespace()} if alien else {}
    path = save({"state_dict": content, "shared": values[0], **aliens}, tmp_path / "x.ckpt", legacy=legacy)
    truth = torch.load(path, weights_only=False)
    read = read_checkpoint(path)
    assert set(read) == {"state_dict", "shared"}
    for name, value in content.items():
        found = read["state_dict"][name]
        assert found.dtype == value.dtype and found.shape == value.shape
        assert torch.equal(found, truth["state_dict"][name]) and torch.equal(found, value)


@pytest.mark.parametrize("legacy", [False, True])
def test_published_checkpoint(tmp_path: Path, legacy: bool, caplog: pytest.LogCaptureFixture) -> None:
    state = {"backbone.a": torch.randn(3, 4), "backbone.b": torch.tensor(7)}
    path = save(published(state), tmp_path / "p.ckpt", legacy=legacy)
    with caplog.at_level("INFO"):
        read = read_checkpoint(path)
    assert read["epoch"] == 199 and read["global_step"] == 1234
    assert read["lr_schedulers"] == [{"last_epoch": 3, "base_lrs": [0.001]}]
    assert all(torch.equal(read["state_dict"][name], value) for name, value in state.items())
    assert read["callbacks"] == {} and not {"hyper_parameters", "arguments", "best"} & set(read)
    assert "omegaconf.dictconfig.DictConfig" in caplog.text and "ModelCheckpoint" in caplog.text


def test_parameters_and_their_order(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 3)
    content = {**published(layer.state_dict()), "raw": torch.nn.Parameter(torch.ones(2))}
    read = read_checkpoint(save(content, tmp_path / "p.ckpt"))
    assert list(read["state_dict"]) == ["weight", "bias"]
    assert torch.equal(read["raw"], torch.ones(2)) and torch.equal(read["state_dict"]["bias"], layer.bias)


def test_file_of_this_project_is_read_whole(pretraining_run: Path) -> None:
    path = pretraining_run / "last.ckpt"
    read, truth = read_checkpoint(path), torch.load(path, weights_only=True)
    assert read.keys() == truth.keys() and read["loops"] == truth["loops"]
    assert all(torch.equal(read["state_dict"][k], v) for k, v in truth["state_dict"].items())


@pytest.mark.parametrize("alien", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_truncated(tmp_path: Path, legacy: bool, alien: bool) -> None:
    content = {"state_dict": {"a": torch.arange(5000.0)}, **({"x": np.float64(1)} if alien else {})}
    whole = save(content, tmp_path / "whole.ckpt", legacy=legacy).read_bytes()
    path = tmp_path / "cut.ckpt"
    for share in (0.02, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointError, match=r"cut\.ckpt: damaged or incomplete .*download it again"):
            read_checkpoint(path)


def test_changed_numbers_fail_the_checksum(tmp_path: Path) -> None:
    path = save({"state_dict": {"a": torch.zeros(5000)}, "x": np.float64(1)}, tmp_path / "flipped.ckpt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def stored_zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps({}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "it starts with b'<!DOCTYPE"),
        (pickle.dumps({"a": 1}), "no checkpoint"),
        (stored_zip("a/data.pkl", "a/constants.pkl"), "a TorchScript program"),
        (stored_zip("word/document.xml"), "a zip file of something else"),
    ],
)
def test_not_a_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, 3])
def test_no_dictionary(tmp_path: Path, content: object) -> None:
    with pytest.raises(CheckpointError, match="no dictionary of weights"):
        read_checkpoint(save(content, tmp_path / "odd.ckpt"))


def test_missing_file_and_folder_name_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.ckpt: no such file; .* holds no \.ckpt file"):
        read_checkpoint(tmp_path / "nothing.ckpt")
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"no such file; .* holds last\.ckpt"):
        read_checkpoint(tmp_path / "lst.ckpt")
    with pytest.raises(CheckpointError, match=r"a folder; name a file in it; .* holds last\.ckpt"):
        read_checkpoint(tmp_path)
