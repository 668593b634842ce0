"""Short names of the array types that the simulator passes around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Axes = tuple[Floats, Floats, Floats]  # x, y, z of one length each: faster than rows of three in numpy
