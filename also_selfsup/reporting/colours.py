"""After a network's answer: numbers and classes of n places become colours, and legends explain them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, to_hex, to_rgb
from numpy.typing import NDArray

from also_selfsup.reporting.pictures import SHADES

RGB = NDArray[np.uint8]
STEPS = 12  # colours of a ramp in a legend
GREY = "#b4bac0"
# Of classes: neighbours in the benchmarks' orders differ in lightness too. More classes begin again.
PALETTE = (
    "#e0682f", "#b7950b", "#7d3cc9", "#2f6fdb", "#8b5a2b",
    "#d4317f", "#e03131", "#f2b705", "#17a2a2", "#5f3dc4",
    "#5d6673", "#b98acb", "#c9a06a", "#9dbb3f", "#8fb8c9",
    "#2f9e44", "#6b4f3a", "#5ec26a", "#1d4e89", "#f78fb3",
)  # fmt: skip


@dataclass(frozen=True)
class Ramp:
    """A legend of numbers: colours from low to high.

    Attributes:
        colours: Hexadecimal, from low to high.
        low: What the first one stands for, with its unit.
        high: What the last one stands for.
    """

    colours: Sequence[str]
    low: str
    high: str


@dataclass(frozen=True)
class Swatches:
    """A legend of kinds.

    Attributes:
        entries: Colour, hexadecimal, and name of each.
    """

    entries: Sequence[tuple[str, str]]


Legend = Ramp | Swatches


@dataclass(frozen=True, eq=False)
class Scale:
    """A range of numbers with a colour map.

    Attributes:
        low: Number of the first colour; smaller ones have it too.
        high: Number of the last.
        unit: Behind the numbers of the legend, or what the first and the last number mean.
        name: Of matplotlib's colour map, or one of ours.
    """

    low: float
    high: float
    unit: str | tuple[str, str] = ""
    name: str | Colormap = "viridis"

    def colour(self, values: NDArray[np.float32]) -> RGB:
        """Colours (n, 3) of numbers (n,); unknown ones (NaN) are grey."""
        place = np.nan_to_num((values - self.low) / max(self.high - self.low, 1e-9))
        shown: RGB = (self._map()(np.clip(place, 0, 1))[:, :3] * 255).round().astype(np.uint8)
        shown[np.isnan(values)] = rgb(GREY)
        return shown

    def legend(self) -> Ramp:
        """The ramp with both ends."""
        colours = [to_hex(self._map()(place)) for place in np.linspace(0, 1, STEPS)]
        units = (self.unit, self.unit) if isinstance(self.unit, str) else self.unit
        low, high = (f"{v:.2g} {unit}".strip() for v, unit in zip((self.low, self.high), units, strict=True))
        return Ramp(colours, low, high)

    def _map(self) -> Colormap:
        return colormaps[self.name] if isinstance(self.name, str) else self.name


def occupancy_scale() -> Scale:
    """Of the probability that space is occupied, in the colours of the pictures."""
    return Scale(0.0, 1.0, ("free", "occupied"), SHADES)


def intensity_scale(measured: NDArray[np.float32]) -> Scale:
    """Of return strengths, measured (n,) and predicted: most are small, so the top is where most end."""
    top = float(np.percentile(measured, 98)) if len(measured) else 1.0
    return Scale(0.0, max(round(top, 2), 0.01), "", "plasma")


def height_scale(heights: NDArray[np.float32]) -> Scale:
    """Of z in metres, over all but the few highest and lowest of n places."""
    low, high = np.percentile(heights, (1, 99)) if len(heights) else (0.0, 1.0)
    return Scale(float(low), float(high), "m", "viridis")


def class_colour(number: int) -> str:
    """Colour of a class, hexadecimal; class 0, which is ignored, is grey."""
    return GREY if number == 0 else PALETTE[(number - 1) % len(PALETTE)]


def colour_classes(classes: NDArray[np.int64]) -> RGB:
    """Colours (n, 3) of classes (n,)."""
    count = int(classes.max()) + 1 if len(classes) else 1
    table = np.array([rgb(class_colour(number)) for number in range(count)], np.uint8)
    shown: RGB = table[classes]
    return shown


def class_swatches(names: Sequence[str], numbers: Sequence[int]) -> Swatches:
    """Legend of those classes (numbers) that are to be named."""
    return Swatches([(class_colour(number), names[number]) for number in numbers])


def rgb(colour: str) -> RGB:
    """(3,) of a hexadecimal colour."""
    numbers: RGB = np.round(np.array(to_rgb(colour)) * 255).astype(np.uint8)
    return numbers
