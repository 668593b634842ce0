"""The page: nothing from outside, everything escaped, every picture inside."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from also_selfsup.reporting.pictures import save
from also_selfsup.reporting.report import Commands, Picture, Section, Table, Text, write_report

HOSTILE = '<script src="https://x.y/z.js"></script> & "quotes" <b>'
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags, their attributes and the text; checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def png(tmp_path: Path) -> Path:
    return save(Figure(figsize=(1, 1)), tmp_path / "a.png")


@pytest.fixture
def html(tmp_path: Path, png: Path) -> str:
    sections = [
        Section(
            f"Heading {HOSTILE}",
            [
                Text(HOSTILE, emphasis=True),
                Table(["name", HOSTILE], [[HOSTILE, "+1.5"], ["b", "–"]], f"caption {HOSTILE}"),
                Picture(png, f"look {HOSTILE}", HOSTILE),
                Commands(["python a.py cfg.x='<b>'", HOSTILE]),
            ],
        )
    ]
    path = write_report(tmp_path / "deep" / "report.html", sections, title=HOSTILE, subtitle=HOSTILE)
    return path.read_text(encoding="utf-8")


def test_asks_nothing_of_a_network(html: str) -> None:
    page = Page(html)
    # The hostile text may appear as text; no tag and no style may lead anywhere.
    style = re.search(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "base"}
        for name in ("src", "href", "srcset", "background", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")


def test_text_is_escaped_and_whole(html: str) -> None:
    page = Page(html)
    assert not page.open
    assert (
        page.text.count(HOSTILE) == 10
    )  # title twice, subtitle, heading, text, table thrice, caption, commands
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [HOSTILE]
    assert "<b>" not in html


def test_pictures_are_inside(html: str, png: Path) -> None:
    [source] = [attributes["src"] for tag, attributes in Page(html).tags if tag == "img"]
    assert source is not None
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == png.read_bytes()


def test_only_columns_of_numbers_stand_right() -> None:
    page = Page(Table(["a", "n", "t"], [["x", "1.0", "1"], ["y", "-2", "word"]], "c").html())
    headings = [attributes for tag, attributes in page.tags if tag == "th" and attributes["scope"] == "col"]
    assert [attributes.get("class") for attributes in headings] == [None, "number", None]


def test_refuses_what_is_no_picture_or_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="not a PNG"):
        Picture(tmp_path / "a.png", "c", "d").html()
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        Table(["a", "b"], [["x"]], "c")
