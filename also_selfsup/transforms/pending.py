"""Between launch and use of what a batch needs on a GPU: fields whose sizes are still on their way.

T points, Q queries, V voxels.

Work that the host has to read something of is written in `Steps`: a generator that yields where what it
launched is under way and what comes next reads of it. Whoever has other things to do comes back later, and
the host waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]


def in_turn(steps: Steps[T]) -> T:
    """What the work amounts to, done at once; the host waits where it reads."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def each_within(steps: Steps[T], context: Callable[[], AbstractContextManager[Any]]) -> Steps[T]:
    """The same work, each step of it within the context, which does not hold for what is done in between."""
    while True:
        with context():
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
        yield


class Piece(NamedTuple):
    """A field in a tensor that holds several.

    Attributes:
        buffer: One-dimensional.
        begin: Where in it the field begins.
        channels: Of a row; None for a field without.
        size: Which of the sizes under way is the number of its rows.
    """

    buffer: Tensor
    begin: int
    channels: int | None
    size: int

    def cut(self, rows: int) -> Tensor:
        """The field, so many rows of it."""
        if self.channels is None:
            return self.buffer.as_strided((rows,), (1,), self.begin)
        return self.buffer.as_strided((rows, self.channels), (self.channels, 1), self.begin)


@dataclass(frozen=True)
class Pending:
    """A batch some of whose fields have lengths that the host does not know yet.

    Attributes:
        batch: The other fields.
        pieces: Those fields.
        sizes: Waits for the sizes, if it has to, and answers them.
        finish: What is left to do with the fields at their lengths.
    """

    batch: Batch
    pieces: Mapping[str, Piece]
    sizes: Callable[[], list[int]]
    finish: Callable[[Batch], Batch] = dict

    def result(self) -> Batch:
        """The batch, its fields as long as they should be."""
        sizes = self.sizes()
        cut = {name: piece.cut(sizes[piece.size]) for name, piece in self.pieces.items()}
        return self.finish({**self.batch, **cut})


def finished(batch: Batch) -> Pending:
    """A batch for which nothing is left to do."""
    return Pending(batch, {}, list)


def read_later(sizes: Tensor) -> Callable[[], list[int]]:
    """Begin to bring sizes to the host; the function answered waits for them, which is rarely long.

    Of a recorded pass it answers those of the latest replay.
    """
    if not sizes.is_cuda or torch.cuda.is_current_stream_capturing():
        return sizes.tolist
    host = torch.empty(sizes.shape, dtype=sizes.dtype, pin_memory=True)
    host.copy_(sizes, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()

    def read() -> list[int]:
        arrived.synchronize()
        numbers: list[int] = host.tolist()
        return numbers

    return read
