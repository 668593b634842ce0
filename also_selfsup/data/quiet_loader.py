"""Between data sets and those that read a whole split: a loader that Ctrl-C ends without a word."""

import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

from torch.utils.data import DataLoader

from also_selfsup.settings.ctrl_c import ctrl_c_later

T = TypeVar("T", covariant=True)


class QuietLoader(DataLoader[T]):
    """torch's loader, whose processes leave Ctrl-C to the one that started them."""

    def __iter__(self) -> "Iterator[T]":  # type: ignore[override]
        """Start the processes."""
        self.worker_init_fn = _set_up_worker
        with ctrl_c_later():
            return super().__iter__()


def _set_up_worker(worker: int) -> None:
    """Python reports by this hook that a connection broke, as when nobody fetches a batch any more."""
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)
