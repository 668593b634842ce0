"""The keyed permutations of a GPU's thinning, their formula written again in numpy, for many keys at once."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint32]
MULTIPLIER, STEP = np.uint32(0x9E3779B1), np.uint32(0x9E3779B9)


def mixed(x: Numbers) -> Numbers:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def permuted(count: int, keys: NDArray[np.int64], places: int | None = None) -> NDArray[np.int64]:
    """(keys, places): where the permutation of each key sends the first places; all keys at once."""
    low = (keys & 0x7FFFFFFF).astype(np.uint32)[:, None]
    high = (keys >> 31).astype(np.uint32)[:, None]
    bits = max(count - 1, 0).bit_length()
    left_bits, shift = bits // 2, np.uint32(bits - bits // 2)
    left_mask, right_mask = np.uint32((1 << left_bits) - 1), np.uint32((1 << int(shift)) - 1)
    value = np.broadcast_to(np.arange(places or count, dtype=np.uint32), (len(keys), places or count)).copy()
    outside = np.ones(value.shape, bool)
    while outside.any():
        left, right, round_key = value >> shift, value & right_mask, low
        for number in range(24):
            round_key = mixed(round_key + STEP) ^ high
            if number % 2 == 0:
                left = left ^ (mixed(right * MULTIPLIER + round_key) & left_mask)
            else:
                right = right ^ (mixed(left * MULTIPLIER + round_key) & right_mask)
        value = np.where(outside, (left << shift) | right, value)
        outside &= value >= count
    return value.astype(np.int64)
