"""After a network's answer: points and meshes as one page that turns in a browser, without any network.

n places of a layer, t triangles. Metres in the sensor frame, z up.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.reporting.colours import RGB, Legend, Ramp
from also_selfsup.settings.whole_file import whole_file

STEPS = 65535  # of a coordinate along each edge of a layer's box: under a millimetre for 40 m
PARTS = ("scene.css", "scene_math.js", "scene_gl.js", "scene.js")


@dataclass(frozen=True, eq=False)
class Layer:
    """Places, or a mesh, that can be shown and hidden.

    Attributes:
        name: In the list of layers.
        pos: (n, 3) metres: the places, or the mesh's vertices.
        colours: (n, 3) for each way of colouring that means something for this layer, by its name; for
            another one the layer keeps its first.
        triangles: (t, 3) rows of `pos`; None for places, which are drawn as squares.
        size: Edge of such a square, metres.
        shown: From the beginning.
    """

    name: str
    pos: NDArray[np.float32]
    colours: Mapping[str, RGB]
    triangles: NDArray[np.int32] | None = None
    size: float = 0.08
    shown: bool = True

    def packed(self) -> dict[str, Any]:
        """As the page reads it: numbers as zlib-compressed arrays in base64."""
        low = self.pos.min(0) if len(self.pos) else np.zeros(3)
        span = np.maximum(self.pos.max(0) - low, 1e-6) if len(self.pos) else np.ones(3)
        cells = np.round((self.pos - low) / span * STEPS).astype("<u2")
        return {
            "name": self.name,
            "count": len(self.pos),
            "low": [float(value) for value in low],
            "span": [float(value) for value in span],
            "pos": pack(cells),
            "colours": {name: pack(rgb) for name, rgb in self.colours.items()},
            "triangles": None if self.triangles is None else pack(self.triangles.astype("<u4")),
            "size": self.size,
            "shown": self.shown,
        }


@dataclass(frozen=True)
class Scene:
    """What the page shows.

    Attributes:
        title: Of the page.
        notes: Sentences below it.
        layers: In the order of the list.
        legends: Of each way of colouring, by its name; the first is shown first.
        target: What the view turns around, metres.
    """

    title: str
    notes: Sequence[str]
    layers: Sequence[Layer]
    legends: Mapping[str, Legend]
    target: tuple[float, float, float]


def write_scene(path: Path, scene: Scene) -> Path:
    """Write the page: style, program and data are all inside.

    Args:
        path: HTML file; its folder is made.
        scene: What it shows.

    Returns:
        The path written.

    Raises:
        ValueError: A layer has no colours, or a way of colouring no legend.
    """
    for layer in scene.layers:
        if not layer.colours or not set(layer.colours) <= set(scene.legends):
            raise ValueError(f"{layer.name}: colours {list(layer.colours)}, legends {list(scene.legends)}.")
    data = {
        "layers": [layer.packed() for layer in scene.layers],
        "legends": {name: _legend(legend) for name, legend in scene.legends.items()},
        "target": scene.target,
    }
    folder = files("also_selfsup.reporting")
    style, *program = (folder.joinpath(name).read_text(encoding="utf-8") for name in PARTS)
    page = folder.joinpath("scene.html").read_text(encoding="utf-8")
    texts = {
        "TITLE": escape(scene.title),
        "NOTES": " ".join(map(escape, scene.notes)),
        "STYLE": style,
        "PROGRAM": "\n".join(program),
        "DATA": json.dumps(data).replace("<", "\\u003c"),
    }
    # In one pass: a name of the data that looks like a mark stays what it is.
    page = re.sub(f"@({'|'.join(texts)})@", lambda mark: texts[mark[1]], page)
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def pack(values: NDArray[Any]) -> str:
    """An array's bytes, compressed, as text."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 6)).decode("ascii")


def _legend(legend: Legend) -> dict[str, Any]:
    if isinstance(legend, Ramp):
        return {"ramp": list(legend.colours), "low": legend.low, "high": legend.high}
    return {"entries": [list(entry) for entry in legend.entries]}
