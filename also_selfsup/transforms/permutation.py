"""For thinning and queries on a GPU: random permutations of any length, each place computed on its own.

A Feistel network over the next power of two, walked until it lands inside: a bijection for every key, which
behaves as a uniformly drawn permutation does (Mitchell et al., Bandwidth-Optimal Random Shuffling for GPUs,
2022). So a subset without replacement, in random order, needs neither a sort nor a second look.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import triton
import triton.language as tl

ROUNDS = tl.constexpr(24)  # as many as the authors found indistinguishable from uniform, two keys each


@triton.jit
def _mix(x):
    """Finaliser of MurmurHash3: every bit of a uint32 acts on every other."""
    x ^= x >> 16
    x *= 0x85EBCA6B
    x ^= x >> 13
    x *= 0xC2B2AE35
    return x ^ (x >> 16)


@triton.jit
def permuted(place, count, bits, key, active):
    """Where a permutation of [0, count) sends each place.

    Args:
        place: Block of int32 in [0, count).
        count: int32; the permutation is one of so many.
        bits: int32, the least with 2**bits >= count.
        key: int64, chooses the permutation; 62 random bits.
        active: Block of bool; other places are answered as they are.
    """
    low_key, high_key = (key & 0x7FFFFFFF).to(tl.uint32), (key >> 31).to(tl.uint32)
    left_bits = bits // 2
    right_bits = bits - left_bits
    one = tl.full((), 1, tl.uint32)
    left_mask, right_mask = (one << left_bits.to(tl.uint32)) - 1, (one << right_bits.to(tl.uint32)) - 1
    shift = right_bits.to(tl.uint32)
    value, limit, outside = place.to(tl.uint32), count.to(tl.uint32), active
    while tl.max(outside.to(tl.int32), 0) > 0:
        left, right = value >> shift, value & right_mask
        round_key = low_key
        for _ in range(ROUNDS // 2):
            round_key = _mix(round_key + 0x9E3779B9) ^ high_key
            left ^= _mix(right * 0x9E3779B1 + round_key) & left_mask
            round_key = _mix(round_key + 0x9E3779B9) ^ high_key
            right ^= _mix(left * 0x9E3779B1 + round_key) & right_mask
        value = tl.where(outside, (left << shift) | right, value)
        outside = outside & (value >= limit)
    return value.to(tl.int32)
