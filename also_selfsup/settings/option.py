"""Under the schema: how a setting says what it means and what it may be."""

from dataclasses import field
from typing import Any


def option(default: Any, doc: str, **limits: Any) -> Any:
    """Declare a field: its default, its meaning, and what it may be.

    Args:
        default: The value where nothing is said; lists and settings groups are copied for each run.
        doc: One line for the reader of `--cfg job` and doc/configuration.md.
        limits: `unit`, `choices`, `low` (the least value allowed), `above` (the value must be larger).
    """
    metadata = {"doc": doc, **limits}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)
