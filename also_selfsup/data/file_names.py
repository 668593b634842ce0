"""Beside the tables of a data set: the file names they give, held against its root before one is opened."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError


def refuse_outside(names: NDArray[np.bytes_], *, origin: str | Path) -> None:
    """Refuse file names that lead out of the data set's root.

    Args:
        names: File names as the table `origin` gives them.
        origin: The file they come from, for the message.

    Raises:
        DatasetError: An absolute name, or one with `..` or a NUL in it.
    """
    for name in names.tolist():
        parts = name.split(b"/")
        # An absolute name begins with an empty part.
        if b".." in parts or not parts[0] or b"\0" in name or b"\\" in name:
            raise DatasetError(
                f"{origin} names the file {name!r}, which is not below the root: do not use it."
            )
