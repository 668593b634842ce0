"""After everything: one page that explains itself, with its pictures inside.

The page asks nothing of a network: style and pictures are part of the file.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from also_selfsup.reporting.style import STYLE
from also_selfsup.settings.whole_file import whole_file


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Plain text.
        emphasis: It states the result; it is set apart.
    """

    text: str
    emphasis: bool = False

    def html(self) -> str:
        """As HTML."""
        opening = '<p class="result">' if self.emphasis else "<p>"
        return f"{opening}{escape(self.text)}</p>"


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row.

    Attributes:
        header: Names of the columns.
        rows: As many cells each as the header has; columns of numbers are set to the right.
        caption: What the table shows, with units.
        wrap: The cells are sentences and names of files: as wide as the page, broken wherever needed.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    wrap: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"A row of {len(row)} cells under {len(self.header)} columns: {list(row)}.")

    def html(self) -> str:
        """As HTML."""
        sides = [_side(column) for column in zip(*self.rows, strict=True)] or [""] * len(self.header)
        cells = zip(self.header, sides, strict=True)
        head = "".join(f'<th scope="col"{side}>{escape(name)}</th>' for name, side in cells)
        body = "\n".join(f"<tr>{_row_html(row, sides)}</tr>" for row in self.rows)
        opening = '<table class="wrap">' if self.wrap else "<table>"
        return (
            f'<div class="wide">{opening}<caption>{escape(self.caption)}</caption>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )


@dataclass(frozen=True)
class Picture:
    """A PNG with a caption.

    Attributes:
        path: The file; its content becomes part of the page.
        caption: What to see in it.
        description: For those who cannot see it.
        narrow: Half as wide as the page.
    """

    path: Path
    caption: str
    description: str
    narrow: bool = False

    def html(self) -> str:
        """As HTML.

        Raises:
            ValueError: The file is no PNG.
        """
        content = self.path.read_bytes()
        if not content.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"{self.path}: not a PNG file; write the picture as PNG.")
        data = base64.b64encode(content).decode("ascii")
        opening = '<figure class="narrow">' if self.narrow else "<figure>"
        return (
            f'{opening}<img src="data:image/png;base64,{data}" alt="{escape(self.description)}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Commands:
    """Lines to type.

    Attributes:
        lines: One command or comment each; long ones are broken so that they can be pasted as they are.
    """

    lines: Sequence[str]

    def html(self) -> str:
        """As HTML."""
        text = "\n".join(_broken(line) for line in self.lines)
        return f"<pre><code>{escape(text)}</code></pre>"


@dataclass(frozen=True)
class Listing:
    """A long text that is folded on screen and open on paper.

    Attributes:
        title: What it is; a click on it opens the text.
        text: Shown as it is.
    """

    title: str
    text: str

    def html(self) -> str:
        """As HTML."""
        text = f"<pre><code>{escape(self.text)}</code></pre>"
        return f"<details><summary>{escape(self.title)}</summary>\n{text}</details>"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        heading: Its title.
        parts: What it holds, in order.
    """

    heading: str
    parts: Sequence[Text | Table | Picture | Commands | Listing]

    def html(self) -> str:
        """As HTML."""
        parts = "\n".join(part.html() for part in self.parts)
        return f"<section>\n<h2>{escape(self.heading)}</h2>\n{parts}\n</section>"


def write_report(path: Path, sections: Sequence[Section], *, title: str, subtitle: str = "") -> Path:
    """Write the page, whole or not at all.

    Args:
        path: HTML file; its folder is made.
        sections: In order.
        title: Of the page.
        subtitle: One sentence below it.

    Returns:
        The path written.

    Raises:
        ValueError: A picture is no PNG.
        FileNotFoundError: A picture is missing.
    """
    body = "\n".join(section.html() for section in sections)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{escape(title)}</h1>\n<p class="subtitle">{escape(subtitle)}</p></header>\n'
        f"{body}\n</main>\n</body>\n</html>\n"
    )
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _broken(line: str) -> str:
    """Break a command of more than 96 characters between its words, as a shell reads it."""
    if len(line) <= 96 or line.startswith("#"):
        return line
    lines = [""]
    for word in line.split(" "):
        if lines[-1].strip() and len(lines[-1]) + len(word) > 92:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def _row_html(row: Sequence[str], sides: Sequence[str]) -> str:
    cells = zip(row[1:], sides[1:], strict=True)
    rest = "".join(f"<td{side}>{escape(cell)}</td>" for cell, side in cells)
    return f'<th scope="row">{escape(row[0])}</th>{rest}'


def _side(column: Sequence[str]) -> str:
    """Columns of numbers stand to the right, so that their digits stand below one another."""
    numbers = all(cell[:1].isdigit() or (cell and cell[0] in "+-–") for cell in column)
    return ' class="number"' if numbers else ""
