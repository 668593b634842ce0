"""The interactive page: nothing from outside, data as they went in, and a browser that draws them."""

import base64
import json
import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from also_selfsup.reporting.colours import Ramp, Swatches
from also_selfsup.reporting.scene import Layer, Scene, write_scene

HOSTILE = '</script><img src="https://x.y/z.png"> & @DATA@'
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


def square() -> Layer:
    """A red square of 8 m around the origin, at z = 1.5 m, in two triangles."""
    pos = np.array([[-4, -4, 1.5], [4, -4, 1.5], [4, 4, 1.5], [-4, 4, 1.5]], np.float32)
    red = np.tile(np.array([230, 20, 20], np.uint8), (4, 1))
    blue = np.tile(np.array([20, 20, 230], np.uint8), (4, 1))
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Layer("square", pos, {"first": red, "second": blue}, triangles)


def points() -> Layer:
    """500 green points."""
    pos = np.random.default_rng(0).uniform(-15, 15, (500, 3)).astype(np.float32)
    return Layer(HOSTILE, pos, {"first": np.tile(np.array([0, 160, 0], np.uint8), (500, 1))}, size=0.5)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    ramp, swatches = Ramp(["#000000", "#ffffff"], "0 m", HOSTILE), Swatches([("#1414e6", "blue")])
    legends = {"first": ramp, "second": swatches}
    scene = Scene(HOSTILE, [HOSTILE], [square(), points()], legends, (0.0, 0.0, 0.0))
    return write_scene(tmp_path / "deep" / "scene.html", scene)


def data_of(html: str) -> dict[str, Any]:
    """What the page's program parses."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def unpack(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_asks_nothing_of_a_network(page: Path) -> None:
    html = page.read_text("utf-8")
    assert "default-src 'none'" in html
    tags = Tags(html).found
    assert {"img", "link", "iframe", "object", "base"}.isdisjoint(tag for tag, _ in tags)
    assert [tag for tag, _ in tags].count("script") == 2 == html.count("</script>")
    assert not any({"src", "href", "srcset", "action"} & set(attributes) for _, attributes in tags)
    program, style = (re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL) for tag in ("script", "style"))
    for word in ("fetch(", "XMLHttpRequest", "import", "url(", "http", "WebSocket"):
        assert word not in "".join(program + style), word
    assert not re.search("@(TITLE|PROGRAM|STYLE|NOTES)@", html)


def test_data_decode_to_what_went_in(page: Path) -> None:
    data = data_of(page.read_text("utf-8"))
    assert list(data["legends"]) == ["first", "second"] and data["legends"]["first"]["high"] == HOSTILE
    for packed, layer in zip(data["layers"], (square(), points()), strict=True):
        cells = unpack(packed["pos"], "<u2").reshape(-1, 3)
        assert packed["count"] == len(cells) == len(layer.pos) and packed["name"] == layer.name
        pos = np.array(packed["low"]) + cells / 65535 * np.array(packed["span"])
        np.testing.assert_allclose(pos, layer.pos, atol=30 / 65535)
        for way, colours in layer.colours.items():
            np.testing.assert_array_equal(unpack(packed["colours"][way], "u1").reshape(-1, 3), colours)
        if layer.triangles is not None:
            np.testing.assert_array_equal(unpack(packed["triangles"], "<u4").reshape(-1, 3), layer.triangles)


def test_colours_need_a_legend(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="square: colours"):
        write_scene(tmp_path / "a.html", Scene("t", [], [square()], {"first": Ramp([], "", "")}, (0, 0, 0)))


def browse(page: Path, *more: str) -> str:
    """What a browser without a screen writes."""
    assert CHROMIUM is not None
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-extensions"),
        *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=900,600"),
        *(f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=20000", *more, page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What a reader does, one after the other, and whether the picture was another one after each. Without a
# screen the browser makes frames when it likes, so the page must not wait for them.
USE_IT = """<script>
window.requestAnimationFrame = (draw) => setTimeout(draw, 0);
addEventListener("load", async () => {
  const drawn = async () => {
    await new Promise((done) => setTimeout(done, 100));
    return document.querySelector("canvas").toDataURL();
  };
  while (!document.body.dataset.drawn) await new Promise((done) => setTimeout(done, 50));
  const canvas = document.querySelector("canvas"), changed = [];
  const key = (name) => dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const deeds = [
    () => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -300 })),
    () => document.querySelectorAll("#ways input")[1].click(),
    () => document.querySelectorAll("#layers input")[1].click(),
    () => document.getElementById("theme").click(),
    () => document.querySelector("button[data-key=t]").click(),
    ...["ArrowLeft", "ArrowDown", "w", "+", "r"].map((name) => () => key(name)),
    () => {},
  ];
  let before = await drawn();
  for (const deed of deeds) {
    deed();
    const after = await drawn();
    changed.push(after !== before ? "y" : "n");
    before = after;
  }
  document.body.dataset.changed = changed.join("");
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_browser_draws_it(page: Path) -> None:
    picture = page.parent / "picture.png"
    used = page.with_name("used.html")
    used.write_text(page.read_text("utf-8").replace("<body>", f"<body>{USE_IT}"), encoding="utf-8")
    dom = browse(used, "--dump-dom")
    assert 'data-drawn="4 500"' in dom and re.search(r'id="message"[^>]*></p>', dom), dom[-400:]
    assert 'data-changed="yyyyyyyyyyn"' in dom, re.findall(r"<body[^>]*>", dom)
    browse(page, f"--screenshot={picture}")
    pixels = imread(picture)[..., :3][:, 320:]  # without the panel
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert ((red > 0.3) & (green < 0.2) & (blue < 0.2)).mean() > 0.02  # the lit square
    assert ((green > 0.5) & (red < 0.1) & (blue < 0.1)).mean() > 0.001  # the points
    assert (pixels.min(-1) > 0.9).mean() > 0.3  # the page's ground
