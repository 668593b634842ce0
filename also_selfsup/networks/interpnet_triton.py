"""The decoder on a GPU, the kernels: from projected latents to predictions of pairs, and back.

Letters: M supports, P pairs, L latent size, O outputs (1 or 2), B pairs of a block, S supports of a block, G
programs.

h = relu(latent W + position V + b), a = h W1' + b1, out = relu(a) F' + f: the latent's part is computed once
a support; nothing of size P x L is kept for the way back, which computes h and a again. Sums are taken in
float32, in a fixed order: the same input gives the same bits. In the kernels OUT is O; matrices are turned,
channels x pairs, because what belongs to a channel then takes few registers.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.transforms.launch import Launcher


@triton.jit
def _apart(query_pos, support_pos, query, support, inside):
    # Query - support, metres.
    x = tl.load(query_pos + query * 3, mask=inside, other=0.0)
    x -= tl.load(support_pos + support * 3, mask=inside, other=0.0)
    y = tl.load(query_pos + query * 3 + 1, mask=inside, other=0.0)
    y -= tl.load(support_pos + support * 3 + 1, mask=inside, other=0.0)
    z = tl.load(query_pos + query * 3 + 2, mask=inside, other=0.0)
    z -= tl.load(support_pos + support * 3 + 2, mask=inside, other=0.0)
    return x, y, z


@triton.jit
def _position_weights(w_in, b_in, channel, L: tl.constexpr):
    # w_in is (L, L + 3): the last three columns belong to the position.
    row = w_in + channel * (L + 3) + L
    return tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(b_in + channel)


@triton.jit
def _relu(value):
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit(do_not_specialize=["stride"])
def _predict_kernel(
    projected, query_pos, support_pos, pair_query, pair_support, numbers, w_in, b_in, w_1, b_1, w_f, b_f, out,
    stride, L: tl.constexpr, OUT: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # Predictions of the first `numbers[0]` pairs, one output after the other.
    channel = tl.arange(0, L)
    v_x, v_y, v_z, bias = _position_weights(w_in, b_in, channel, L)
    weight = tl.load(w_1 + channel[:, None] * L + channel[None, :])
    bias_1, out_0 = tl.load(b_1 + channel), tl.load(w_f + channel)
    out_1 = tl.load(w_f + (OUT - 1) * L + channel)
    pairs = tl.load(numbers)
    for block in range(tl.program_id(0), tl.cdiv(pairs, B), tl.num_programs(0)):
        pair = block * B + tl.arange(0, B)
        inside = pair < pairs
        query = tl.load(pair_query + pair, mask=inside, other=0).to(tl.int32)
        support = tl.load(pair_support + pair, mask=inside, other=0).to(tl.int32)
        x, y, z = _apart(query_pos, support_pos, query, support, inside)
        place = support.to(tl.int64)[None, :] * L + channel[:, None]
        hidden = tl.load(projected + place, mask=inside[None, :], other=0.0).to(tl.float32)
        hidden += bias[:, None] + v_x[:, None] * x[None, :] + v_y[:, None] * y[None, :]
        hidden = _relu(hidden + v_z[:, None] * z[None, :]).to(projected.dtype.element_ty)
        after = _relu(tl.dot(weight, hidden) + bias_1[:, None])
        tl.store(out + pair, tl.sum(after * out_0[:, None], 0) + tl.load(b_f), mask=inside)
        if OUT == 2:
            value = tl.sum(after * out_1[:, None], 0) + tl.load(b_f + 1)
            tl.store(out + stride + pair, value, mask=inside)


@triton.jit(do_not_specialize=["stride"])
def _record_kernel(
    query_pos, support_pos, pair_query, order, keys, numbers, grad_0, grad_1, records, stride,
    OUT: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # What the way back needs of the pairs, sorted by support: query - support (3), gradients of outputs (O);
    # 0 for rows that are no pairs.
    pairs = tl.load(numbers)
    place = tl.program_id(0) * B + tl.arange(0, B)
    inside = place < pairs
    pair = tl.load(order + place, mask=inside, other=0)
    support = tl.load(keys + place, mask=inside, other=0)
    query = tl.load(pair_query + pair, mask=inside, other=0).to(tl.int32)
    x, y, z = _apart(query_pos, support_pos, query, support, inside)
    tl.store(records + place, x, mask=place < stride)
    tl.store(records + stride + place, y, mask=place < stride)
    tl.store(records + 2 * stride + place, z, mask=place < stride)
    for output in tl.static_range(OUT):
        grad = tl.load((grad_0 if output == 0 else grad_1) + pair, mask=inside, other=0.0)
        tl.store(records + (3 + output) * stride + place, grad, mask=place < stride)


@triton.jit(do_not_specialize=["stride"])
def _pull_kernel(
    projected, keys, records, numbers, w_in, b_in, w_1, b_1, w_f, pulls, partial, stride,
    L: tl.constexpr, OUT: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # Gradients: of h before its ReLU for every pair, sorted by support; of W1, b1 and F, a sum a program,
    # (L + 3, L): W1; b1; F, whose second row is 0 where there is one output.
    channel = tl.arange(0, L)
    v_x, v_y, v_z, bias = _position_weights(w_in, b_in, channel, L)
    weight = tl.load(w_1 + channel[:, None] * L + channel[None, :])
    turned = tl.load(w_1 + channel[None, :] * L + channel[:, None])
    bias_1, out_0 = tl.load(b_1 + channel), tl.load(w_f + channel)
    out_1 = tl.load(w_f + (OUT - 1) * L + channel)
    sum_w = tl.zeros((L, L), dtype=tl.float32)
    sum_1 = tl.zeros((L,), dtype=tl.float32)
    sum_f0, sum_f1 = sum_1, sum_1
    pairs = tl.load(numbers)
    for block in range(tl.program_id(0), tl.cdiv(pairs, B), tl.num_programs(0)):
        place = block * B + tl.arange(0, B)
        inside = place < pairs
        support = tl.load(keys + place, mask=inside, other=0).to(tl.int64)
        x = tl.load(records + place, mask=inside, other=0.0)
        y = tl.load(records + stride + place, mask=inside, other=0.0)
        z = tl.load(records + 2 * stride + place, mask=inside, other=0.0)
        hidden = tl.load(
            projected + support[None, :] * L + channel[:, None], mask=inside[None, :], other=0.0
        ).to(tl.float32)
        hidden += bias[:, None] + v_x[:, None] * x[None, :] + v_y[:, None] * y[None, :]
        hidden = _relu(hidden + v_z[:, None] * z[None, :]).to(projected.dtype.element_ty)
        before = tl.dot(weight, hidden) + bias_1[:, None]
        grad = tl.load(records + 3 * stride + place, mask=inside, other=0.0)
        sum_f0 += tl.sum(_relu(before) * grad[None, :], 1)
        pull = out_0[:, None] * grad[None, :]
        if OUT == 2:
            grad = tl.load(records + 4 * stride + place, mask=inside, other=0.0)
            sum_f1 += tl.sum(_relu(before) * grad[None, :], 1)
            pull += out_1[:, None] * grad[None, :]
        pull = tl.where(before > 0, pull, 0.0)
        sum_1 += tl.sum(pull, 1)
        pull = pull.to(projected.dtype.element_ty)
        sum_w = tl.dot(pull, tl.trans(hidden), sum_w)
        back = tl.dot(turned, pull).to(projected.dtype.element_ty)
        there = place.to(tl.int64)[None, :] * L + channel[:, None]
        tl.store(pulls + there, tl.where(hidden > 0, back, 0.0), mask=inside[None, :])
    mine = partial + tl.program_id(0) * ((L + 3) * L)
    tl.store(mine + channel[:, None] * L + channel[None, :], sum_w)
    tl.store(mine + L * L + channel, sum_1)
    tl.store(mine + (L + 1) * L + channel, sum_f0)
    tl.store(mine + (L + 2) * L + channel, sum_f1)


@triton.jit(do_not_specialize=["supports", "stride"])
def _gather_kernel(
    pulls, keys, records, bounds, out, partial, supports, stride,
    L: tl.constexpr, S: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # Sum the gradients of h over the pairs of every support, (M, L); of b and V over all, a sum a program,
    # (L, 16): b, then V (3), then zeros that fill up a block of the matrix units.
    channel, column = tl.arange(0, L), tl.arange(0, 16)
    sums = tl.zeros((L, 16), dtype=tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(supports, S), tl.num_programs(0)):
        support = block * S + tl.arange(0, S)
        first, last = tl.load(bounds + block), tl.load(bounds + block + 1)
        total = tl.zeros((S, L), dtype=tl.float32)
        for start in range(first, last, B):
            place = start + tl.arange(0, B)
            inside = place < last
            key = tl.load(keys + place, mask=inside, other=-1)
            pull = tl.load(
                pulls + place.to(tl.int64)[:, None] * L + channel[None, :], mask=inside[:, None], other=0.0
            )
            own = (support[:, None] == key[None, :]).to(pulls.dtype.element_ty)
            total = tl.dot(own, pull, total)
            axis = tl.where((column > 0) & (column < 4), column - 1, 0)
            factor = tl.load(
                records + axis[None, :] * stride + place[:, None],
                mask=inside[:, None] & ((column > 0) & (column < 4))[None, :],
                other=0.0,
            )
            factor = tl.where((column == 0)[None, :], 1.0, factor).to(pulls.dtype.element_ty)
            sums = tl.dot(tl.trans(pull), factor, sums)
        tl.store(
            out + support.to(tl.int64)[:, None] * L + channel[None, :],
            total.to(out.dtype.element_ty),
            mask=(support < supports)[:, None],
        )
    tl.store(partial + tl.program_id(0) * (L * 16) + channel[:, None] * 16 + column[None, :], sums)


launch_predict, launch_pull = Launcher(_predict_kernel), Launcher(_pull_kernel)
launch_record, launch_gather = Launcher(_record_kernel), Launcher(_gather_kernel)
