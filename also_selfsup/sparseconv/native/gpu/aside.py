"""Native backend on a GPU: work of a recorded backward pass that runs beside the rest of it.

A kernel's gradient is needed by nobody before the pass ends, and the gradient of the features does not wait
for it: recorded on a stream of its own it fills processors that a small level leaves idle, and multiplies
while others move memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

# Pieces of work that may be under way: each holds what it reads, two tensors of a layer's features.
DEPTH = 2


class Aside:
    """A second stream within `with aside:`, which is around a recording; elsewhere work is done in turn.

    What is read there is held until the main stream has waited for it: in a recording, memory that is given
    back is written over by whoever is recorded next.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None
        self._under_way: deque[tuple[torch.cuda.Event, Any]] = deque()
        self._results: set[int] = set()

    def __enter__(self) -> None:
        self._results.clear()
        self._stream = _stream_of(torch.cuda.current_device())

    def __exit__(self, *error: object) -> None:
        self._stream = None
        try:
            self._wait(most=0)
        finally:
            self._under_way.clear()

    def made(self, tensor: Tensor) -> bool:
        """Whether this tensor was made by `run` within the last `with aside:`.

        Its memory is then the second stream's, which the main stream is never given, in other recordings that
        share the pool either.
        """
        return tensor.data_ptr() in self._results

    def run(self, work: Callable[[], T], *, reads: Any) -> T:
        """Answer `work()`; its result may be read behind `with aside:`.

        Args:
            work: Launches kernels, reads nothing on the host.
            reads: Tensors that it reads.
        """
        if self._stream is None:
            return work()
        self._stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self._stream):
                result = work()
        finally:  # also after an error, which a recording that is never joined would hide
            self._under_way.append((self._stream.record_event(), reads))
        if isinstance(result, Tensor):
            self._results.add(result.data_ptr())
        self._wait(most=DEPTH)
        return result

    def _wait(self, *, most: int) -> None:
        """Let the main stream wait for all but the newest pieces."""
        while len(self._under_way) > most:
            done, _ = self._under_way.popleft()
            torch.cuda.current_stream().wait_event(done)


@lru_cache
def _stream_of(device: int) -> torch.cuda.Stream:
    """One for all recordings: libraries keep working memory for each stream they have ever seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


aside = Aside()
