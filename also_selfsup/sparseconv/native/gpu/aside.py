"""Native backend on a GPU: work of a recorded backward pass that runs beside the rest of it.

A kernel's gradient is needed by nobody before the pass ends, and the gradient of the features does not wait
for it: recorded on a stream of its own it fills processors that a small level leaves idle, and multiplies
while others move memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import torch

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

    def __enter__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        self._stream = None
        self._wait(most=0)

    def run(self, work: Callable[[], T], *, reads: Any) -> T:
        """Answer `work()`; its result may be read behind `with aside:`.

        Args:
            work: Launches kernels, reads nothing on the host.
            reads: Tensors that it reads.
        """
        if self._stream is None:
            return work()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = work()
        self._under_way.append((self._stream.record_event(), reads))
        self._wait(most=DEPTH)
        return result

    def _wait(self, *, most: int) -> None:
        """Let the main stream wait for all but the newest pieces."""
        while len(self._under_way) > most:
            done, _ = self._under_way.popleft()
            torch.cuda.current_stream().wait_event(done)


aside = Aside()
