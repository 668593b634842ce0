"""Between data sets and those that read them: how loaders start processes, and one that ends quietly."""

import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

from torch.utils.data import DataLoader

from also_selfsup.settings.ctrl_c import ctrl_c_later

T = TypeVar("T", covariant=True)


def start_method(workers: int) -> str | None:
    """How a loader starts so many processes, for its `multiprocessing_context`.

    By a fork where that is safe (Linux): they are there at once, and share the data set's tables. Left to
    Python, the loaders of a process that was itself spawned (`run_all`) would be spawned too, one behind the
    other: each imports torch first, which takes as long as a small training.
    """
    return "fork" if workers and sys.platform == "linux" else None


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
