"""While a run is drawn: parts that may fail or take too long without harm to the training beside them."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class OutOfTime(Exception):
    """What is being drawn took longer than it may."""


class Attempts:
    """Tries one part after the other; what fails is logged, noted for the page, and left out.

    A training must not end because a picture of it could not be drawn: every exception of a part stops here,
    except those that end a process (`KeyboardInterrupt`, `SystemExit`).

    Args:
        seconds: What is tried `in_time` is not begun later than this after the making; if it is long, it asks
            `check` in between.

    Attributes:
        notes: What was left out and why, in order.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.notes: list[str] = []
        self._begun = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the making."""
        return time.monotonic() - self._begun

    def check(self) -> None:
        """Stop a long part in time.

        Raises:
            OutOfTime: The seconds are over.
        """
        if self.spent > self.seconds:
            raise OutOfTime

    def in_time(self, part: str, make: Callable[[], T]) -> T | None:
        """The same as a call, unless the seconds are over."""

        def checked() -> T:
            self.check()
            return make()

        return self(part, checked)

    def __call__(self, part: str, make: Callable[[], T]) -> T | None:
        """Answer what `make` gives, or None where that failed; `part` is its name in messages."""
        try:
            return make()
        except OutOfTime:
            note = f"{part}: left out after {self.spent:.1f} s of drawing; cfg.logging.picture_seconds is "
            note += f"{self.seconds:g}."
        except Exception as error:
            note = f"{part}: left out, because drawing it failed with {type(error).__name__}: {error}"
        logger.warning("report of the run: %s", note)
        self.notes.append(note)
        return None
