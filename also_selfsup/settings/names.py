"""Before the first file is read: names in a configuration become objects through explicit tables."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Return the entry of `table` called `name`.

    Args:
        table: The choices by name.
        name: The name asked for.
        what: What the names stand for, in the words of the message ("backbone", "cfg.dataset_name").

    Raises:
        ValueError: There is no such name; the message lists those there are.
    """
    if name in table:
        return table[name]
    near = get_close_matches(str(name), table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown {what} {name!r}: choose one of {', '.join(sorted(table))}.{hint}")
