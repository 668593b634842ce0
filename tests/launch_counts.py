"""What the host does for kernels in Triton's interpreter: launches, and calls of torch beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.interpreter import GridExecutor


class _Calls(TorchDispatchMode):
    """Counts what reaches torch while no kernel runs."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts, self.within_kernel = counts, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts["torch"] += not self.within_kernel
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts `launches` of what is called inside, and its calls of `torch`."""
    counts: Counter[str] = Counter()
    calls, execute = _Calls(counts), GridExecutor.__call__

    def launch(executor: GridExecutor, *arguments: Any, **named: Any) -> Any:
        counts["launches"] += 1
        calls.within_kernel = True
        try:
            return execute(executor, *arguments, **named)
        finally:
            calls.within_kernel = False

    with patch.object(GridExecutor, "__call__", launch), calls:
        yield counts
