"""Between data sets and those that read a whole split: a loader that Ctrl-C finds in order."""

from collections.abc import Iterator
from typing import TypeVar

from torch.utils.data import DataLoader

from also_selfsup.settings.ctrl_c import ctrl_c_later

T = TypeVar("T", covariant=True)


class QuietLoader(DataLoader[T]):
    """torch's loader, whose processes leave Ctrl-C to the one that started them."""

    def __iter__(self) -> "Iterator[T]":  # type: ignore[override]
        """Start the processes."""
        with ctrl_c_later():
            return super().__iter__()
