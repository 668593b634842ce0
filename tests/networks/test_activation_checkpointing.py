"""Blocks that keep only their input: the same numbers as without, from fewer kept ones."""

import copy
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from also_selfsup.networks import build_backbone, checkpoint_blocks
from also_selfsup.networks.activation_checkpointing import CheckpointedBlock
from also_selfsup.networks.minkunet import ResidualBlock
from also_selfsup.sparseconv import SubmanifoldConv3d, Voxels
from also_selfsup.sparseconv.native import NativeBackend
from also_selfsup.transforms.pending import in_turn

Make = Callable[..., Any]
NAMES = ["MinkUNet18", "SPVCNN"]


def both_of(net: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A network in float32 training, and the same one with checkpointed blocks."""
    plain = net.float().train()
    checkpointed = copy.deepcopy(plain)
    checkpoint_blocks(checkpointed)
    return plain, checkpointed


def trained(net: nn.Module, batches: list[dict[str, Any]], *, autocast: bool = False) -> list[Tensor]:
    """Losses and gradients of a few steps, then parameters, statistics and counts."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    found: list[Tensor] = []
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)  # dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = net(batch)["latents"].float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        found += [loss.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]
        optimizer.step()
    return [*found, *net.state_dict().values()]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_bit_of_a_training_is_the_same(
    name: str, autocast: bool, make_batch: Make, make_net: Make
) -> None:
    batches = [make_batch((60, 45), seed=seed) for seed in range(3)]
    plain, checkpointed = both_of(make_net(name))
    assert list(plain.state_dict()) == list(checkpointed.state_dict())
    truth = trained(plain, batches, autocast=autocast)
    ours = trained(checkpointed, batches, autocast=autocast)
    assert len(truth) == 3 * (1 + len(list(plain.parameters()))) + len(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours, truth, strict=True))
    counts = [value for key, value in checkpointed.state_dict().items() if key.endswith("batches_tracked")]
    assert counts and all(count == 3 for count in counts)


@pytest.mark.parametrize("count", [0, 1])
def test_one_voxel_or_none(count: int, make_batch: Make, make_net: Make) -> None:
    plain, checkpointed = both_of(make_net("MinkUNet18"))
    truth, ours = (trained(net, [make_batch((count,))]) for net in (plain, checkpointed))
    assert len(ours) == len(truth)
    assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(ours, truth, strict=True))


class Kept:
    """A tensor that autograd keeps."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # a graph that held itself would never be freed


def kept_by(net: nn.Module, batch: dict[str, Any]) -> tuple[int, int]:
    """Tensors that a forward pass keeps, and their bytes but for parameters', each memory counted once."""
    alive: WeakSet[Kept] = WeakSet()

    def keep(tensor: Tensor) -> Kept:
        kept = Kept(tensor)
        alive.add(kept)
        return kept

    torch.manual_seed(0)  # dropout
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        latents = net(batch)["latents"]
    own = {parameter.data_ptr() for parameter in net.parameters()}
    storages = [kept.tensor.untyped_storage() for kept in alive]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages if storage.data_ptr() not in own}
    assert latents.requires_grad  # the graph is still there
    return len(alive), sum(sizes.values())


@pytest.mark.parametrize(("name", "share"), [("MinkUNet18", 0.5), ("SPVCNN", 0.7)])
def test_less_is_kept_in_training_only(name: str, share: float, make_batch: Make, make_net: Make) -> None:
    batch = make_batch((700, 600))
    plain, checkpointed = both_of(make_net(name))
    count, size = kept_by(checkpointed, batch)
    count_before, size_before = kept_by(plain, batch)
    assert count < 0.6 * count_before and size < share * size_before
    assert kept_by(checkpointed.eval(), batch) == kept_by(plain.eval(), batch)
    with torch.no_grad():
        assert checkpointed(batch)["latents"].equal(plain(batch)["latents"])


def test_frozen_parameters_stay_without_gradient(make_batch: Make, make_net: Make) -> None:
    plain, checkpointed = both_of(make_net("MinkUNet18"))
    for net in (plain, checkpointed):
        for number, parameter in enumerate(net.parameters()):
            parameter.requires_grad_(number % 3 > 0)
        net(make_batch())["latents"].square().mean().backward()
    pairs = list(zip(checkpointed.parameters(), plain.parameters(), strict=True))
    assert all((a.grad is None) == (not a.requires_grad) for a, _ in pairs)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if b.grad is not None)


def test_the_parameters_of_the_forward_pass_get_the_gradients(make_batch: Make, make_net: Make) -> None:
    """As a recorded pass has it: others stand in for the parameters, forward only."""
    batch = make_batch()
    plain, checkpointed = both_of(make_net("MinkUNet18"))
    plain(batch)["latents"].square().mean().backward()
    stand_ins = {name: p.detach().requires_grad_() for name, p in checkpointed.named_parameters()}
    out = torch.func.functional_call(checkpointed, stand_ins, (batch,))["latents"].square().mean()
    gradients = torch.autograd.grad(out, list(stand_ins.values()))
    assert all(torch.equal(a, b.grad) for a, b in zip(gradients, plain.parameters(), strict=True))
    assert all(p.grad is None and isinstance(p, nn.Parameter) for p in checkpointed.parameters())
    assert all(torch.equal(a, b) for a, b in zip(checkpointed.buffers(), plain.buffers(), strict=True))


class Pointwise(CheckpointedBlock):
    """A block of which no operation reads on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = SubmanifoldConv3d(4, 4, 1), nn.BatchNorm1d(4)

    def compute(self, x: Voxels) -> Voxels:
        y: Voxels = self.conv(x)
        return y.with_feats(self.norm(y.feats))


class NoHostReads(TorchDispatchMode):
    """Refuses what makes a host wait for its device, and counts the rest."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(func) and "nonzero" not in str(func), func
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_checkpointing_itself_reads_nothing_on_the_host(cells_of_a_line: Tensor) -> None:
    block = Pointwise().train()
    checkpoint_blocks(block)
    feats = torch.randn(len(cells_of_a_line), 4, requires_grad=True)
    x = NativeBackend().voxels(feats, cells_of_a_line)
    with NoHostReads() as mode:
        block(x).feats.backward(torch.ones(len(feats), 4))
    assert mode.count > 10 and feats.grad is not None


@pytest.fixture
def cells_of_a_line() -> Tensor:
    """(5, 4) neighbouring cells."""
    return torch.tensor([[0, x, 0, 0] for x in range(5)])


def test_spconv_computes_the_same_and_still_says_that_it_cannot_train(cells_of_a_line: Tensor) -> None:
    spconv = pytest.importorskip("also_selfsup.sparseconv.spconv_backend", exc_type=ImportError)
    x = spconv.SpconvBackend().voxels(torch.randn(5, 4), cells_of_a_line.int())
    plain = ResidualBlock(4, 8).train()
    checkpointed = copy.deepcopy(plain)
    checkpoint_blocks(checkpointed)
    y = checkpointed(x)
    assert y.feats.equal(plain(x).feats) and y.coords.equal(x.coords)
    assert len(y.sparse.indice_dict) == 1  # the next block finds the pairs of this one
    with pytest.raises(RuntimeError, match="framework=native"):
        y.feats.sum().backward()


def test_a_network_without_residual_blocks_is_refused() -> None:
    net = build_backbone("SECOND", in_channels=1, out_channels=2, voxel_size=0.1, extent=[0, 0, 0, 8, 8, 4])
    with pytest.raises(ValueError, match="SECOND has no residual blocks"):
        checkpoint_blocks(net)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_recorded_passes_have_the_same_gradients(make_batch: Make) -> None:
    torch.manual_seed(0)
    plain, checkpointed = both_of(build_backbone("MinkUNet18", in_channels=2, out_channels=16).cuda())
    batch = {name: field.cuda() for name, field in make_batch((1500, 1200)).items()}
    for net in (plain, checkpointed):
        net.backend.record()
        for _ in range(4):  # as it is, recorded, replayed
            net.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                latents = net(batch | in_turn(net.prepare(batch)))["latents"]
            latents.float().square().mean().backward()
        assert net.backend.recorder.recording is not None
    for (name, ours), truth in zip(checkpointed.named_parameters(), plain.parameters(), strict=True):
        assert (ours.grad - truth.grad).norm() <= 1e-2 * truth.grad.norm(), name
    for ours, truth in zip(checkpointed.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-3, atol=1e-4)
