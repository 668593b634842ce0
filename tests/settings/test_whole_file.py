"""A file of results is whole or as it was, whatever ends its writing."""

from pathlib import Path

import pytest

from also_selfsup.settings.whole_file import whole_file


def test_makes_its_folder_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    for text in ("one", "two"):
        with whole_file(path) as part:
            part.write_text(text)
        assert path.read_text() == text and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_what_fails_leaves_the_former_file(tmp_path: Path, end: type[BaseException]) -> None:
    path = tmp_path / "b.txt"
    path.write_text("one")
    with pytest.raises(end), whole_file(path) as part:
        part.write_text("tw")
        raise end
    with pytest.raises(end), whole_file(path):
        raise end
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]
