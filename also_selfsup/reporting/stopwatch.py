"""Around the phases of a long job: says what is going on, and keeps how long each took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Stopwatch:
    """Times named phases; a phase entered again adds up.

    Args:
        console: Each phase is announced there.

    Attributes:
        seconds: Wall-clock seconds by phase, in the order of first use.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self.start = time.perf_counter()

    @contextmanager
    def __call__(self, phase: str, detail: str = "") -> Iterator[None]:
        """Time what is done inside; `detail` tells one use of a phase from another."""
        begun = time.perf_counter()
        title = f"{phase} ({detail})" if detail else phase
        self.console.rule(f"[bold]{title}[/], {begun - self.start:.0f} s since the start", align="left")
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begun
