"""Nothing of a checkpoint is ever run: payloads that do run under plain pickle leave no trace here."""

import builtins
import functools
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint
from also_selfsup.checkpoints.restricted import ADMITTED


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


def touch(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


PAYLOADS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda m: Call(os.system, f"touch {m}"),
    "eval": lambda m: Call(builtins.eval, touch(m)),
    "exec": lambda m: Call(builtins.exec, touch(m)),
    "subprocess": lambda m: Call(subprocess.call, ["touch", str(m)]),
    "open": lambda m: Call(builtins.open, str(m), "w"),
    "in a list": lambda m: [1, {"deep": (Call(os.system, f"touch {m}"),)}],
    "as a key": lambda m: {Call(os.system, f"touch {m}"): torch.ones(2)},
    "as an argument": lambda m: Call(repr, Call(os.mkdir, str(m))),
    "partial": lambda m: Call(functools.partial(os.mkdir, str(m))),
    "beside a tensor": lambda m: (torch.nn.Parameter(torch.ones(2)), Call(os.mkdir, str(m))),
    "of torch": lambda m: Call(torch.save, {}, str(m)),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_does_not_run(tmp_path: Path, name: str, legacy: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.ckpt"
    content = {"state_dict": {"a": torch.arange(3)}, "evil": PAYLOADS[name](marker)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(path)
    assert not marker.exists()
    assert torch.equal(read["state_dict"]["a"], torch.arange(3))
    torch.load(path, weights_only=False)
    assert marker.exists(), "the payload of this test is dead"


def test_no_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_a_stranger.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import module_of_a_stranger

    content = {"state_dict": {"a": torch.ones(1)}, "x": module_of_a_stranger.Thing()}
    torch.save(content, tmp_path / "x.ckpt")
    monkeypatch.delitem(sys.modules, "module_of_a_stranger")
    assert list(read_checkpoint(tmp_path / "x.ckpt")) == ["state_dict"]
    assert "module_of_a_stranger" not in sys.modules


def with_pickle(content: bytes, path: Path) -> Path:
    """A file of torch.save whose pickle is `content`."""
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(4)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return path


@pytest.mark.parametrize("target", [("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")])
def test_admitted_functions_cannot_be_altered(tmp_path: Path, target: tuple[str, str]) -> None:
    module, name = (part.encode() for part in target)
    for state in (b"}X\x04\x00\x00\x00evil(K\x01s", b"(N}X\x08\x00\x00\x00__call__K\x01st"):
        altering = b"\x80\x02c" + module + b"\n" + name + b"\n" + state + b"b."
        with pytest.raises(CheckpointError, match="damaged"):
            read_checkpoint(with_pickle(altering, tmp_path / "x.ckpt"))
    assert not hasattr(ADMITTED[target], "evil") and callable(ADMITTED[target])


class BeyondItsStorage:
    """Pickles as a tensor that claims more numbers than its storage has."""

    def __init__(self, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> None:
        self.arguments = (torch.ones(4).storage(), offset, size, stride, False, {})

    def __reduce__(self) -> Any:
        return (torch._utils._rebuild_tensor_v2, self.arguments)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("shape", [((1000,), (1,)), ((2, 2), (1000, 1)), ((4,), (1,), 1), ((-1,), (1,))])
def test_tensors_stay_within_their_storage(tmp_path: Path, shape: Any, legacy: bool) -> None:
    path = tmp_path / "x.ckpt"
    content = {"a": BeyondItsStorage(*shape), "alien": Call(os.getcwd)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_foreign_reference_and_bomb_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(with_pickle(b"\x80\x02X\x06\x00\x00\x00moduleQ.", tmp_path / "x.ckpt"))
    torch.save({"a": torch.zeros(10_000), "alien": Call(os.getcwd)}, tmp_path / "y.ckpt")
    with zipfile.ZipFile(tmp_path / "y.ckpt") as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "z.ckpt", "w", compression=zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "z.ckpt")
