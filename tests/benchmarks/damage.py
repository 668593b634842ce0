"""For fuzz.py: bytes and tables, damaged in the ways that happen and in those that somebody would try."""

import json
import random
from typing import Any

SECRET = "secret_beside_the_root.bin"
ODD_BYTES = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\xc0\x7f", b"../", b"\n", b"{", b"\x80")


def damage(data: bytes, numbers: random.Random) -> bytes:
    """A few bytes changed, put in, left out, repeated, or the end cut off."""
    whole = bytearray(data)
    for _ in range(numbers.choice((1, 1, 2, 4, 16))):
        start = numbers.randrange(len(whole) + 1)
        end = min(start + numbers.choice((0, 1, 4, 64)), len(whole))
        piece = numbers.choice((*ODD_BYTES, numbers.randbytes(4), bytes(whole[start:end]) * 2, b""))
        whole[start:end] = piece
    return bytes(whole[: numbers.choice((len(whole),) * 3 + (numbers.randrange(len(whole) + 1),))])


def odd_value(numbers: random.Random) -> Any:
    """Something that does not belong into a table."""
    paths = (
        f"../{SECRET}",
        f"samples/../../{SECRET}",
        "/etc/passwd",
        "..\\x",
        "a\0b",
        "",
        "\ud800",
        "x" * 5000,
    )
    others = (None, True, -1, 2**70, 1e308, float("nan"), [], [[]], {}, {"token": 1}, [1, "a"], "é")
    return numbers.choice((*paths, *others))


def damage_table(data: bytes, numbers: random.Random) -> bytes:
    """A field of some rows changed or left out; or a row; or the bytes."""
    if numbers.random() < 0.3:
        return damage(data, numbers)
    rows = json.loads(data)
    for _ in range(numbers.choice((1, 1, 3))):
        place = numbers.randrange(len(rows))
        row, kind = rows[place], numbers.random()
        if kind < 0.1 or not isinstance(row, dict) or not row:
            rows[place] = odd_value(numbers)
        elif kind < 0.3:
            del row[numbers.choice(list(row))]
        else:
            row[numbers.choice(list(row))] = odd_value(numbers)
    return json.dumps(rows, indent=numbers.choice((None, 0))).encode("utf-8", "surrogatepass")
