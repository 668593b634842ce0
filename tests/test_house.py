"""Rules of the house that no linter knows: stations in order, short files and functions, no loose ends."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "also_selfsup"
STATIONS = (
    "settings data transforms sparseconv networks losses evaluation checkpoints training reporting".split()
)
FILES = [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]
FORBIDDEN_CALLS = {"print", "eval", "exec", "breakpoint"}


def place(file: Path) -> int:
    """Where on the data's way a module of the package stands; scripts come last."""
    first = file.relative_to(PACKAGE).parts[0]
    return STATIONS.index(first) if first in STATIONS else len(STATIONS)


def imported(tree: ast.Module) -> list[str]:
    """Modules of the package that a file imports, wherever in it."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name for name in names if name.split(".")[0] == "also_selfsup"]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_only_from_stations_before(file: Path) -> None:
    for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
        station = name.split(".")[1]
        position = STATIONS.index(station) if station in STATIONS else len(STATIONS)
        assert position <= place(file), f"{name} stands behind this module on the data's way"


def test_every_folder_of_the_package_is_a_station() -> None:
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}
    assert folders <= set(STATIONS)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, f"{node.name} is longer than 50 lines"


def parent_call(tree: ast.Module, keyword: ast.keyword) -> ast.expr:
    """What is called with a keyword."""
    return next(n.func for n in ast.walk(tree) if isinstance(n, ast.Call) and keyword in n.keywords)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_nothing_is_left_lying(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}: {node.func.id}()"
        if isinstance(node, ast.ExceptHandler):
            passes = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert node.type is not None and not passes, f"line {node.lineno}: swallows errors"
        if isinstance(node, ast.keyword) and node.arg in ("strict", "weights_only"):
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            # zip(strict=False) only says its default; a state dict must not lose keys, nor a file run code.
            assert not off or "zip" in ast.dump(parent_call(tree, node)), (
                f"line {node.lineno}: {node.arg}=False"
            )
    assert not re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b", text), "unfinished"


def test_package_data_and_recipes_are_found_from_a_checkout() -> None:
    assert (ROOT / "configs" / "config.yaml").is_file() and any((ROOT / "configs" / "cfg").glob("*.yaml"))
    script_names = {file.stem for file in PACKAGE.glob("*.py")}
    assert not script_names & {"types", "logging", "datasets", "random", "copy", "typing"}, (
        "shadows a package"
    )
