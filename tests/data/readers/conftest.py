"""Points for the tests of the readers, and a writer of bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def points() -> np.ndarray:
    """(200, 4) float32: x, y, z as of a street, intensity of 0 to 255; nothing is zero."""
    numbers = np.random.default_rng(0)
    rows = numbers.normal(0, 1, (200, 4)) * (20, 15, 1.5, 0) + (3, 1, -1.5, 0)
    rows[:, 3] = numbers.integers(1, 256, 200)
    return rows.astype("<f4")


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Function: write a file of the name, and answer its path."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write
