"""Native backend on a GPU: work of a recorded backward pass that runs beside the rest of it.

A kernel's gradient is needed by nobody before the pass ends, and the gradient of the features does not wait
for it: recorded on a stream of its own it fills processors that a small level leaves idle, and multiplies
while others move memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Aside:
    """A second stream within `with aside:`, which is around a recording; elsewhere work is done in turn.

    One piece of work is under way at a time. What it reads is held until the main stream has waited for it:
    in a recording, memory that is given back is written over by whoever is recorded next.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None
        self._held: Any = None

    def __enter__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        self._join()
        self._stream = None

    def run(self, work: Callable[[], T], *, reads: Any) -> T:
        """Answer `work()`; its result may be read behind `with aside:`.

        Args:
            work: Launches kernels, reads nothing on the host.
            reads: Tensors that it reads.
        """
        if self._stream is None:
            return work()
        self._join()
        self._stream.wait_stream(torch.cuda.current_stream())
        self._held = reads
        with torch.cuda.stream(self._stream):
            return work()

    def _join(self) -> None:
        """Let the main stream wait for what is under way."""
        if self._held is not None and self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)
            self._held = None


aside = Aside()
