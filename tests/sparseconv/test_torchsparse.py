"""The torchsparse adapter on a stand-in of the functions it uses, as versions 1.4 and 2.1 have them.

The stand-in computes with dictionaries of cells and one matrix product a pair, by torchsparse's own rules:
1.4 has the batch column last and coarse cells in input voxels, 2.1 the batch first and cells of the level.
"""

import copy
import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from also_selfsup.networks import checkpoint_blocks
from also_selfsup.networks.minkunet import ResidualBlock
from also_selfsup.sparseconv import Backend, Chain, DownsampleConv3d, SubmanifoldConv3d, UpsampleConv3d
from also_selfsup.sparseconv.native import NativeBackend

MODULE = "also_selfsup.sparseconv.torchsparse_backend"


class SparseTensor:
    """Features, cells and stride; finer cells are remembered by stride, as torchsparse does in `cmaps`."""

    def __init__(self, feats: Tensor, coords: Tensor, stride: tuple[int, ...] = (1, 1, 1)) -> None:
        self.feats, self.coords, self.stride = feats, coords, stride
        self.cmaps: dict[tuple[int, ...], Tensor] = {stride: coords}


def fapply(tensor: SparseTensor, function: Callable[[Tensor], Tensor]) -> SparseTensor:
    result = SparseTensor(function(tensor.feats), tensor.coords, tensor.stride)
    result.cmaps = tensor.cmaps
    return result


def _offsets(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Kernel cells around 0 (odd) or from 0 on (even), x fastest where their number is odd."""
    ranges = [range(-(n // 2), n // 2 + 1) if n % 2 else range(n) for n in size]
    found = list(itertools.product(*ranges))
    odd = size[0] * size[1] * size[2] % 2
    return sorted(found, key=lambda cell: cell[::-1]) if odd else found


def _conv3d(
    tensor: SparseTensor, weight: Tensor, size: Any, stride: Any, transposed: bool, *, unit: Any
) -> SparseTensor:
    """`unit` answers (batch, x, y, z in input voxels) of each cell and the reverse."""
    to_cells, to_coords = unit
    width = tensor.stride
    if transposed:
        width = tuple(w // s for w, s in zip(width, stride, strict=True))
        coords = tensor.cmaps[width]
    elif all(s == 1 for s in stride):
        coords = tensor.coords
    else:
        wide = tuple(w * s for w, s in zip(width, stride, strict=True))
        inputs = to_cells(tensor.coords, width)
        # torchsparse numbers coarse cells in the order of its hash: any will do, so here descending
        found = sorted({(b, *(c // w * w for c, w in zip(p, wide, strict=True))) for b, *p in inputs})[::-1]
        coords = to_coords(found, wide)
    new = width if transposed else tuple(w * s for w, s in zip(width, stride, strict=True))
    fine, coarse = (new, tensor.stride) if transposed else (width, new)
    inputs, outputs = to_cells(tensor.coords, tensor.stride), to_cells(coords, new)
    rows = {cell: row for row, cell in enumerate(inputs if not transposed else outputs)}
    feats = [torch.zeros(weight.shape[2], dtype=weight.dtype) for _ in outputs]
    for cell_row, (b, *p) in enumerate(outputs if not transposed else inputs):
        for k, offset in enumerate(_offsets(size)):
            near = (b, *(c + o * w for c, o, w in zip(p, offset, fine, strict=True)))
            if near in rows:
                there = rows[near]
                source, target = (there, cell_row) if not transposed else (cell_row, there)
                feats[target] = feats[target] + tensor.feats[source] @ weight[k]
    assert coarse
    result = SparseTensor(torch.stack(feats), coords, new)
    result.cmaps = tensor.cmaps
    result.cmaps.setdefault(new, coords)
    return result


def _old(coords: Tensor, width: Any) -> list[tuple[int, ...]]:
    return [(row[3], *row[:3]) for row in coords.tolist()]


def _old_back(cells: list[tuple[int, ...]], width: Any) -> Tensor:
    return torch.tensor([(*cell[1:], cell[0]) for cell in cells], dtype=torch.int32)


def _new(coords: Tensor, width: Any) -> list[tuple[int, ...]]:
    return [(b, *(c * w for c, w in zip(p, width, strict=True))) for b, *p in coords.tolist()]


def _new_back(cells: list[tuple[int, ...]], width: Any) -> Tensor:
    rows = [(b, *(c // w for c, w in zip(p, width, strict=True))) for b, *p in cells]
    return torch.tensor(rows, dtype=torch.int32)


def conv3d_old(
    input: SparseTensor,  # noqa: A002
    weight: Tensor,
    kernel_size: Any,
    bias: Tensor | None = None,
    stride: Any = 1,
    dilation: Any = 1,
    transposed: bool = False,
) -> SparseTensor:
    return _conv3d(input, weight, kernel_size, stride, transposed, unit=(_old, _old_back))


def conv3d_new(
    input: SparseTensor,  # noqa: A002
    weight: Tensor,
    kernel_size: Any,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    config: Any = None,
    transposed: bool = False,
    generative: bool = False,
    training: bool = False,
) -> SparseTensor:
    return _conv3d(input, weight, kernel_size, stride, transposed, unit=(_new, _new_back))


@pytest.fixture(params=["1.4.0", "2.1.0"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The adapter, imported with the stand-in in the place of the library."""
    conv3d = conv3d_old if request.param == "1.4.0" else conv3d_new
    contents: dict[str, dict[str, Any]] = {
        "torchsparse": {"__version__": request.param, "SparseTensor": SparseTensor},
        "torchsparse.nn": {},
        "torchsparse.nn.functional": {"conv3d": conv3d},
        "torchsparse.nn.utils": {"fapply": fapply},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        module.__dict__.update(values)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            parent, _, child = name.rpartition(".")
            setattr(sys.modules[parent], child, module)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE).TorchsparseBackend()
    sys.modules.pop(MODULE, None)


def test_adapter_agrees_with_native(cells: Any, backend: Backend) -> None:
    coords = cells((6, 5, 4)) + torch.tensor((0, -3, 70, 0))
    layers = Chain(
        SubmanifoldConv3d(3, 4),
        DownsampleConv3d(4, 5),
        SubmanifoldConv3d(5, 5, (1, 3, 5)),
        DownsampleConv3d(5, 5),
        UpsampleConv3d(5, 5),
        SubmanifoldConv3d(5, 4, 1),
        UpsampleConv3d(4, 3),
    ).double()
    feats = torch.randn(len(coords), 3, dtype=torch.float64)
    ours, truth = backend.voxels(feats, coords), NativeBackend().voxels(feats, coords)
    for layer in layers:
        ours, truth = layer(ours), layer(truth)
        order = sorted(range(len(ours.coords)), key=ours.coords.tolist().__getitem__)
        order_truth = sorted(range(len(truth.coords)), key=truth.coords.tolist().__getitem__)
        assert torch.equal(ours.coords[order].long(), truth.coords[order_truth]) and ours.level == truth.level
        torch.testing.assert_close(ours.feats[order], truth.feats[order_truth], rtol=0, atol=1e-12)
    torch.testing.assert_close(backend.features(ours), truth.feats, rtol=0, atol=1e-12)


def test_blocks_that_are_computed_again_are_prepared_for_it(
    cells: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions, asked = sys.modules["torchsparse.nn.functional"], []
    conv3d = functions.conv3d

    def spy(*args: Any, **options: Any) -> SparseTensor:
        asked.append(options.get("training", True))
        return conv3d(*args, **options)

    monkeypatch.setattr(functions, "conv3d", spy)
    plain = ResidualBlock(3, 4).double().train()
    checkpointed = copy.deepcopy(plain)
    checkpoint_blocks(checkpointed)
    feats = torch.randn(len(cells()), 3, dtype=torch.float64)
    for block in (plain, checkpointed):
        block(backend.voxels(feats, cells())).feats.square().sum().backward()
    assert len(asked) == 2 + 4 and all(asked)
    pairs = zip(plain.parameters(), checkpointed.parameters(), strict=True)
    assert all(a.grad is not None and b.grad is not None and a.grad.equal(b.grad) for a, b in pairs)
    assert all(a.equal(b) for a, b in zip(plain.buffers(), checkpointed.buffers(), strict=True))


def test_adapter_refuses_what_the_library_lacks(cells: Any, backend: Backend) -> None:
    x = backend.voxels(torch.randn(len(cells()), 3), cells())
    with pytest.raises(ValueError, match="bounded grid"):
        backend.voxels(x.feats, x.coords, grid=(9, 8, 7))
    with pytest.raises(ValueError, match="level 0"):
        UpsampleConv3d(3, 3)(x)
    if backend.batch_last:  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="pads size"):
            DownsampleConv3d(3, 3, 3, 2, 0)(x)
