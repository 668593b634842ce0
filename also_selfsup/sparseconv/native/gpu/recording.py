"""Native backend on a GPU: a network's forward and backward pass recorded once and replayed (CUDA graphs).

Letters: V voxels (rows), C channels, L latents.

A step of a deep sparse network is a thousand launches of a few microseconds each, which a host in Python
cannot issue in the time they take. Recorded, they are two. A recording has room for somewhat larger batches
than it was made for; rows behind those of a batch are filling, and the device knows how many there are.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from also_selfsup.sparseconv.native.gpu.capture import Pass, Recording, Token, compile_pass, record
from also_selfsup.sparseconv.native.gpu.layout import Sizes, Tables
from also_selfsup.sparseconv.native.gpu.shadows import Shadows
from also_selfsup.sparseconv.native.gpu.structure import Structure, gradients_are_awaited, without_collector
from also_selfsup.sparseconv.native.gpu.tiles import tile_size

# Room beyond what was seen, and the step by which it grows: every growth is recorded anew.
SLACK, STEP = 1.06, 2048
NOTHING = Sizes((), ())


class Recorder:
    """Runs the passes of one network, recorded where that is possible.

    What is possible: training in 16 bits of a network all of whose parameters learn. The first pass of all
    runs as it is, which compiles the kernels, as does the first with tiles of other sizes; the next one is
    recorded.
    """

    def __init__(self) -> None:
        self.room = NOTHING
        self.recording: Recording | None = None
        # Rows of the tiles of each level for which all kernels have been compiled.
        self.warm: set[tuple[int, ...]] = set()
        self._structure: Structure | None = None
        self._whole: bool | None = None

    def __reduce__(self) -> tuple[type[Recorder], tuple[()]]:
        """A copy of a network records its own passes."""
        return Recorder, ()

    def make_room(self, sizes: Sizes) -> Sizes:
        """For which sizes tables are to have room, given those of a batch."""
        if not self.room.holds(sizes):
            self.room = self.room.grown(sizes, slack=SLACK, step=STEP)
        return self.room

    def trained_whole(self, network: nn.Module) -> list[nn.Parameter] | None:
        """The network's parameters, if all of it trains in the way that is recorded; else None.

        Args:
            network: The same in each call.
        """
        found = self._structure.trained_whole() if self._structure else None
        if found is None:
            self._structure = Structure(network)
            found = self._structure.trained_whole()
        self._whole = found
        return self._structure.parameters if found and self._structure else None

    def expects(self, network: nn.Module) -> bool:
        """Whether passes to come will be recorded ones, as it seems: what tables are given room for.

        `run` looks at the whole network in every step; this goes by what it found. A wrong answer costs some
        batches their recorded pass, or memory.
        """
        if not self._whole:
            self.trained_whole(network)
        return network.training and bool(self._whole)

    def run(
        self, network: nn.Module, step: Pass, feats: Tensor, *, tables: Tables, shadows: Shadows
    ) -> Tensor:
        """step(feats, tables), with gradients of the network's parameters.

        Args:
            network: Whose parameters and modes matter.
            step: From features (V, C) and tables to (V, L), V as much as the tables have room for.
            feats: (rows of the batch, C); without gradient.
            tables: Of the batch.
            shadows: Where the pass looks for its kernels in 16 bits.

        Returns:
            (V, L); in recorded passes valid until the next one.
        """
        padded = functional.pad(feats, (0, 0, 0, tables.layout.sizes.rows[0] - len(feats)))
        parameters = self.trained_whole(network) if _records_now(feats) else None
        # Tables may have been made while the network was evaluated, or before the room grew.
        if parameters is None or tables.layout.sizes != self.room:
            return step(padded, tables)
        tiles = tuple(map(tile_size, self.room.rows))
        if tiles not in self.warm:
            self.warm.add(tiles)
            compile_pass(network, step, padded, tables=tables)
            return step(padded, tables)
        key = _key(parameters, padded, self.room)
        found = self.recording
        if found is None or found.key != key:
            _let_go(parameters)
            self.recording = found = None  # its memory is needed for the next one
            with without_collector():
                self.recording = found = record(
                    network, step, padded, tables=tables, key=key, shadows=shadows
                )
        if found.busy():
            return step(padded, tables)
        token = Token()
        found.latest = ref(token)
        inputs = parameters if gradients_are_awaited() else [found.anchor]
        result: Tensor = _Replay.apply(found, token, padded, tables, *inputs)  # type: ignore[no-untyped-call]
        return result


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, recording: Recording, token: Token, feats: Tensor, tables: Tables, *inputs: Tensor
    ) -> Tensor:
        recording.feats.copy_(feats)
        tables.moved(recording.tables.buffer)
        recording.forward.replay()
        ctx.recording, ctx.token, ctx.stored = (
            recording,
            token,
            len(inputs) == 1 and inputs[0] is recording.anchor,
        )
        return recording.out.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # Let go of: the loss of a step outlives it, and a recording that is given up holds gigabytes.
        recording, ctx.recording = ctx.recording, None
        token: Token = ctx.token
        if recording is None or token.done or recording.latest() is not token:
            raise RuntimeError(
                "A recorded forward pass can be gone back through once, before the next one: set "
                "cfg.trainer.cuda_graphs=false for other uses."
            )
        token.done = True
        before = _set_apart(recording)
        recording.grad.copy_(grad)
        recording.backward.replay()
        if not ctx.stored:
            return (None, None, None, None, *(g if g is None else g.detach() for g in recording.gradients))
        for parameter, gradient, kept in zip(recording.parameters, recording.gradients, before, strict=True):
            if gradient is not None:
                parameter.grad = gradient if kept is None else kept.add_(gradient)
        return None, None, None, None, None


def _set_apart(recording: Recording) -> list[Tensor | None]:
    """The parameters' gradients so far; those in the recording's memory, which still add up, are copied."""
    before = [parameter.grad for parameter in recording.parameters]
    for row, kept in enumerate(before):
        if kept is None:
            continue
        gradient = recording.gradients[row]
        if gradient is not None and kept.data_ptr() == gradient.data_ptr():
            recording.parameters[row].grad = before[row] = kept.clone()
    return before


def _records_now(feats: Tensor) -> bool:
    """Whether this pass is of the kind that recordings are made of."""
    return (
        torch.is_grad_enabled()
        and feats.is_cuda
        and not feats.requires_grad
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") in (torch.bfloat16, torch.float16)
        and not torch.is_anomaly_enabled()
    )


def _key(parameters: list[nn.Parameter], feats: Tensor, room: Sizes) -> Any:
    """What has to be the same for a recording to hold; it keeps its parameters, so ids remain theirs."""
    places = tuple(map(Tensor.data_ptr, parameters))
    kinds = feats.dtype, feats.shape[1], torch.get_autocast_dtype("cuda")
    return tuple(map(id, parameters)), places, kinds, room


def _let_go(parameters: list[nn.Parameter]) -> None:
    """Copy the gradients that there are: they may lie in the memory of a recording that is given up."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()
