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
from typing import Any, TypeAlias, TypeVar

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


@dataclass(frozen=True)
class Pending:
    """A batch in buffers that may be longer than what they hold.

    Attributes:
        batch: All fields.
        counts: How long some of them are: the name of a field to the number of the size in `sizes`.
        sizes: Waits for the sizes, if it has to, and answers them.
        finish: What is left to do with the fields at their lengths.
    """

    batch: Batch
    counts: Mapping[str, int]
    sizes: Callable[[], list[int]]
    finish: Callable[[Batch], Batch] = dict

    def result(self) -> Batch:
        """The batch, its fields as long as they should be."""
        sizes = self.sizes()
        cut = {name: self.batch[name][: sizes[number]] for name, number in self.counts.items()}
        return self.finish({**self.batch, **cut})


def finished(batch: Batch) -> Pending:
    """A batch for which nothing is left to do."""
    return Pending(batch, {}, list)


def read_later(sizes: Tensor) -> Callable[[], list[int]]:
    """Begin to bring sizes to the host; the function answered waits for them, which is rarely long."""
    if not sizes.is_cuda:
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
