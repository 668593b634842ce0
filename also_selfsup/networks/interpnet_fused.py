"""The decoder on a GPU in 16 bits, as one differentiable step with few launches and no wait for the device.

Letters: Q queries, M supports, P pairs, L latent size, O outputs (1 or 2), G programs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from also_selfsup.networks.pairs import ROWS, Pairs
from also_selfsup.transforms.launch import has_matrix_units

SIZES = (16, 32, 64, 128)


class Tuning(NamedTuple):
    """How a kernel is cut up: pairs of a block, warps, loads under way, programs a multiprocessor."""

    pairs: int
    warps: int
    stages: int
    programs: int


PREDICT, PULL, GATHER = Tuning(64, 8, 2, 2), Tuning(64, 8, 1, 1), Tuning(64, 8, 2, 2)
# Supports of a block of the last one.
SUPPORTS = 64


class Weights(NamedTuple):
    """Of the first layer (L, L + 3), the second (L, L) and the last two folded into one (O, L), float32."""

    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    last: Tensor
    last_bias: Tensor


def suits(latents: Tensor, weight: Tensor) -> bool:
    """Whether the kernels can do it: autocast in 16 bits, matrix units, a latent size they know."""
    return (
        latents.is_cuda
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") in (torch.bfloat16, torch.float16)
        and latents.dtype != torch.float64
        and weight.dtype == torch.float32
        and weight.shape[0] in SIZES
        and has_matrix_units(latents.device)
    )


def predict(
    latents: Tensor,
    weights: Weights,
    *,
    query_pos: Tensor,
    support_pos: Tensor,
    pairs: Pairs,
    rows: int,
    dtype: torch.dtype,
) -> tuple[Tensor, ...]:
    """Run the layers on every pair.

    Args:
        latents: (M, L).
        weights: Of the layers.
        query_pos: (Q, 3) float32, metres.
        support_pos: (M, 3) float32, metres.
        pairs: Of queries and supports.
        rows: P, or all that `pairs` has room for; predictions of rows that are no pairs are 0.
        dtype: Of the factors of products; sums are taken in float32.

    Returns:
        One (rows,) float32 for each output, then all of them, (rows, O).
    """
    found: tuple[Tensor, ...] = _Decode.apply(  # type: ignore[no-untyped-call]
        latents, *weights, query_pos.contiguous(), support_pos.contiguous(), pairs, rows, dtype
    )
    return found


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        from also_selfsup.networks import interpnet_triton as kernels  # needs Triton

        latents, *layers, query_pos, support_pos, pairs, rows, dtype = arguments
        weights = Weights(*layers)
        size, outputs = latents.shape[1], weights.last.shape[0]
        x = latents.to(dtype)
        first, second = weights.first[:, :size].to(dtype), weights.second.to(dtype)
        projected = x @ first.t()
        # Rows that are no pairs are there only where nobody has counted.
        out = (query_pos.new_zeros if rows == len(pairs.query) else query_pos.new_empty)(outputs, rows)
        kernels.launch_predict(
            (PREDICT.programs * _multiprocessors(out.device), 1, 1),
            (
                projected, query_pos, support_pos, pairs.query, pairs.support, pairs.numbers, weights.first,
                weights.first_bias, second, weights.second_bias, weights.last, weights.last_bias, out, rows,
            ),
            constants={"L": size, "OUT": outputs, "B": PREDICT.pairs},
            warps=PREDICT.warps,
            stages=PREDICT.stages,
        )  # fmt: skip
        ctx.save_for_backward(x, first, second, projected, query_pos, support_pos, *weights)
        ctx.pairs, ctx.rows, ctx.dtype = pairs, rows, latents.dtype
        ctx.set_materialize_grads(False)
        return *out.unbind(), out.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, first, second, projected, query_pos, support_pos, *layers = ctx.saved_tensors
        weights, pairs, rows = Weights(*layers), ctx.pairs, ctx.rows
        outputs, size = weights.last.shape
        by_support = _sorted_by_support(
            pairs, query_pos, support_pos, grads=_joined(grads, outputs=outputs, rows=rows)
        )
        pulls, sums = _pull(projected, by_support, weights=weights, second=second)
        grad_projected, first_sums = _gather(pulls, by_support, support_count=len(x))
        grad_latents = (grad_projected @ first).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        grad_first = torch.cat([(grad_projected.t() @ x).float(), first_sums[:, 1:4]], dim=1)
        found = Weights(
            grad_first,
            first_sums[:, 0],
            sums[:size],
            sums[size],
            sums[size + 1 : size + 1 + outputs],
            by_support.records[3:].sum(dim=1),
        )
        return grad_latents, *found, None, None, None, None, None


class _BySupport(NamedTuple):
    """The pairs sorted by support: keys (rows,) int32, records (3 + O, rows) float32, and their number."""

    keys: Tensor
    records: Tensor
    numbers: Tensor


def _joined(grads: tuple[Tensor | None, ...], *, outputs: int, rows: int) -> list[Tensor]:
    """The gradients (rows,) of the outputs: what came for each alone, and for all of them together."""
    *alone, together = grads
    joined = []
    for output in range(outputs):
        parts = [alone[output], None if together is None else together[:, output]]
        given = [part for part in parts if part is not None]
        joined.append(sum(given[1:], given[0]).float().contiguous() if given else None)
    some = next(part for part in joined if part is not None)
    return [torch.zeros_like(some) if part is None else part for part in joined]


def _sorted_by_support(
    pairs: Pairs, query_pos: Tensor, support_pos: Tensor, *, grads: list[Tensor]
) -> _BySupport:
    from also_selfsup.networks import interpnet_triton as kernels

    rows, outputs = len(grads[0]), len(grads)
    keys, order = torch.sort(pairs.keys[:rows], stable=True)
    records = query_pos.new_empty(3 + outputs, rows)
    kernels.launch_record(
        (max(1, -(-rows // ROWS)), 1, 1),
        (query_pos, support_pos, pairs.query, order, keys, pairs.numbers, grads[0], grads[-1], records, rows),
        constants={"OUT": outputs, "B": ROWS},
    )
    return _BySupport(keys, records, pairs.numbers)


def _pull(
    projected: Tensor, by_support: _BySupport, *, weights: Weights, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the first layer's result for every pair (rows, L), and the sums of `pull_kernel`."""
    from also_selfsup.networks import interpnet_triton as kernels

    outputs, size = weights.last.shape
    rows = len(by_support.keys)
    programs = PULL.programs * _multiprocessors(projected.device)
    pulls = projected.new_empty(rows, size)
    partial = by_support.records.new_empty(programs, size + 3, size)
    kernels.launch_pull(
        (programs, 1, 1),
        (
            projected, by_support.keys, by_support.records, by_support.numbers, weights.first,
            weights.first_bias, second, weights.second_bias, weights.last, pulls, partial, rows,
        ),
        constants={"L": size, "OUT": outputs, "B": PULL.pairs},
        warps=PULL.warps,
        stages=PULL.stages,
    )  # fmt: skip
    return pulls, partial.sum(dim=0)


def _gather(pulls: Tensor, by_support: _BySupport, *, support_count: int) -> tuple[Tensor, Tensor]:
    """Gradients of the projected latents (M, L), and the sums of `gather_kernel`."""
    from also_selfsup.networks import interpnet_triton as kernels

    rows, size = pulls.shape
    programs = GATHER.programs * _multiprocessors(pulls.device)
    bounds = torch.searchsorted(by_support.keys, _edges(support_count, pulls.device), out_int32=True)
    out = pulls.new_empty(support_count, size)
    partial = by_support.records.new_empty(programs, size, 16)
    kernels.launch_gather(
        (programs, 1, 1),
        (pulls, by_support.keys, by_support.records, bounds, out, partial, support_count, rows),
        constants={"L": size, "S": SUPPORTS, "B": GATHER.pairs},
        warps=GATHER.warps,
        stages=GATHER.stages,
    )
    return out, partial.sum(dim=0)


def _edges(support_count: int, device: torch.device) -> Tensor:
    """The first support of each block, and M."""
    blocks = -(-support_count // SUPPORTS)
    # M is another one in each batch: what is kept is for whole thousands of blocks.
    return _block_starts(-(-(blocks + 1) // 1024) * 1024, device)[: blocks + 1].clamp(max=support_count)


@lru_cache(maxsize=8)
def _block_starts(blocks: int, device: torch.device) -> Tensor:
    return torch.arange(blocks, dtype=torch.int32, device=device) * SUPPORTS


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    """Where nothing compiles (Triton's interpreter), as few as show that programs share the work."""
    if device.type != "cuda":
        return 3
    return torch.cuda.get_device_properties(device).multi_processor_count
