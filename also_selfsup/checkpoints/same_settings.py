"""Behind a run: the command lines that compose its very settings again, whatever it was called."""

import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from also_selfsup.checkpoints.next_command import override, short
from also_selfsup.settings.files import flat_values
from also_selfsup.settings.run import load, recipes
from also_selfsup.settings.schema import Inspect, Settings

# Settings, or groups of them, that say which scans there are and how they are read.
OF_DATA = (
    *("name", "dataset_", "train_split", "val_split", "save_dir", "inputs", "data.", "threads"),
    *("downstream.skip_ratio", "downstream.train_split", "downstream.val_split"),
)


def recipe_and_changes(settings: Settings) -> tuple[str, list[str]]:
    """The recipe that is nearest to some settings, and all overrides that lead from it to them.

    Whichever recipe it is, the two together compose the settings exactly; `resume` is left out, because it
    says how a run begins.
    """
    now = flat_values(replace(settings, resume=None))
    found = []
    for name in recipes():
        before = _recipe(name)
        changes = [override(key, now[key]) for key in now if now[key] != before[key]]
        found.append((len(changes), name != settings.name, name, changes))
    _, _, name, changes = min(found)
    return name, changes


@cache
def _recipe(name: str) -> dict[str, Any]:
    """Values of a recipe; composing one takes a tenth of a second, and every page asks for all of them."""
    return flat_values(load(name))


def inspect_command(settings: Settings, *, labels: bool) -> str:
    """Command that looks at the data set of a run; settings that it does not ask for are left out."""
    name, changes = recipe_and_changes(settings)
    kept = [word for word in changes if word.partition("=")[0].removeprefix("cfg.").startswith(OF_DATA)]
    words = [f"cfg={name}", *kept, *(["--labels"] if labels else [])]
    return shlex.join(["python", "also_selfsup/inspect_data.py", *words])


def train_command(settings: Settings, *, labels: bool) -> str:
    """Command that trains with the settings of an inspection."""
    script = "train_downstream_semseg" if labels else "train_selfsupervised"
    name, changes = recipe_and_changes(replace(settings, inspect=Inspect()))
    return shlex.join(["python", f"also_selfsup/{script}.py", f"cfg={name}", *changes])


def resume_command(script: str, settings: Settings, checkpoint: Path) -> str:
    """Command that goes on with a run from its checkpoint."""
    name, changes = recipe_and_changes(settings)
    words = [f"cfg={name}", *changes, override("resume", short(checkpoint))]
    return shlex.join(["python", f"also_selfsup/{script}.py", *words])
