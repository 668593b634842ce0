"""LZF, the compression of binary_compressed PCD files: runs of literal bytes, and copies of earlier ones.

The format is that of liblzf. A step of the loop decodes a run or a copy, of up to 264 bytes.
"""

LITERAL_END = 32  # control bytes below begin a run of literals
LONG_COPY = 7


def expand(packed: bytes, *, size: int) -> bytes:
    """Decompress to exactly `size` bytes; memory grows with what is decoded, not with what is promised.

    Raises:
        ValueError: The data does not decode to that size.
    """
    out = bytearray()
    place, end = 0, len(packed)
    try:
        while place < end and len(out) < size:
            control = packed[place]
            place += 1
            if control < LITERAL_END:
                out += packed[place : place + control + 1]
                place += control + 1
                continue
            length = control >> 5
            if length == LONG_COPY:
                length += packed[place]
                place += 1
            back = ((control & 0x1F) << 8 | packed[place]) + 1
            place += 1
            start, length = len(out) - back, length + 2
            if start < 0:
                raise ValueError(f"a copy begins {-start} bytes before the data")
            # A copy that is longer than the way back runs into itself: the piece repeats.
            piece = out[start : start + length]
            out += piece if back >= length else bytes(piece) * (length // back) + piece[: length % back]
    except IndexError:
        raise ValueError("it ends within a copy") from None
    if len(out) != size or place != end:
        raise ValueError(f"{len(out)} bytes come out by byte {place} of {end}, it should be {size}")
    return bytes(out)
