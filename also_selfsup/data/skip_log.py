"""Beside the batches: which bad files were skipped so far."""

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)


class SkipLog:
    """Counts the files that were skipped as bad, and logs each once; lives in the main process.

    Attributes:
        count: How many different files were skipped so far.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        """How many different files were skipped so far."""
        return len(self._seen)

    def update(self, skipped: Sequence[str]) -> None:
        """Take in the field `skipped` of a batch."""
        for finding in skipped:
            if finding not in self._seen:
                self._seen.add(finding)
                logger.warning("skipped %s", finding)
