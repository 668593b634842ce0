"""Before the first file is read: names in a configuration become objects through explicit tables."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class UserError(ValueError):
    """Something that the user can mend: the scripts show its message alone, without a traceback."""


def message(error: UserError) -> str:
    """What the error says; one of a loader's worker arrives wrapped in that process's traceback."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].strip() if text.startswith("Caught ") else text


class MissingLibraryError(UserError, ImportError):
    """An optional library that was asked for is not installed; the message says how to get it."""


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Return the entry of `table` called `name`.

    Args:
        table: The choices by name.
        name: The name asked for.
        what: What the names stand for, in the words of the message ("backbone", "cfg.dataset_name").

    Raises:
        UserError: There is no such name; the message lists those there are.
    """
    if name in table:
        return table[name]
    near = get_close_matches(str(name), table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"Unknown {what} {name!r}: choose one of {', '.join(sorted(table))}.{hint}")
