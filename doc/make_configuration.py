"""Write doc/configuration.md from the settings' schema: `python doc/make_configuration.py`."""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_origin

from also_selfsup.settings.schema import Settings

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

<!-- Written by doc/make_configuration.py from also_selfsup/settings/schema.py: change that, not this. -->

A run is described by a recipe and by what the command line changes in it:

```bash
python also_selfsup/train_selfsupervised.py cfg=nuscenes cfg.training.batch_size=8
python also_selfsup/train_selfsupervised.py cfg=nuscenes --cfg job
```

The second line only prints the composed settings. Recipes are the files of [configs/cfg](../configs/cfg),
and hold what differs from the defaults below. A key that does not exist, a value of the wrong type, out of
range or at odds with another one ends the run before anything is read, with one message: key, value, and
what is allowed. A value with one of `= , : ( ) { }` or a blank stands in quotes inside the quotes of the
shell, as in `'cfg.name="a=b"'`.

Relative paths start at the working directory, or at the root of the checkout when a script is started in
`also_selfsup/`. Each run saves its settings as `config.yaml` beside its checkpoints.
"""
# Where the type that the schema can state says too little.
TYPES = {
    "cfg.network.voxel_size": "float, or three",
    "cfg.trainer.limit_train_batches": "int, float, null",
    "cfg.trainer.limit_val_batches": "int, float, null",
}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(path, group) for path, group in groups(Settings(), "cfg"))])


def groups(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A group of settings and those below it, with their paths."""
    yield path, group
    for item in fields(group):
        if is_dataclass(value := getattr(group, item.name)):
            yield from groups(value, f"{path}.{item.name}")


def section(path: str, group: Any) -> str:
    """Title, sentence and table of one group."""
    rows = [row(path, item, getattr(group, item.name)) for item in fields(group)]
    head = "| setting | type | default | unit | meaning |\n|---|---|---|---|---|"
    table = "\n".join([head, *filter(None, rows)])
    return f"## {path}\n\n{(group.__doc__ or '').strip()}\n\n{table}\n"


def row(path: str, item: Field[Any], value: Any) -> str:
    """A setting's line; none for a group, which has a table of its own."""
    if is_dataclass(value):
        return ""
    key, unit = f"{path}.{item.name}", item.metadata.get("unit", "")
    default = f"`{written(value)}`"
    return f"| `{key}` | {kind(key, item)} | {default} | {unit} | {meaning(item)} |"


def kind(key: str, item: Field[Any]) -> str:
    """The type, as words that stand in a table."""
    name = (
        item.type.__name__
        if isinstance(item.type, type) and get_origin(item.type) is None
        else str(item.type)
    )
    return TYPES.get(key) or name.replace(" | None", ", null").replace("list[str]", "list of str")


def meaning(item: Field[Any]) -> str:
    """What it is, and what it may be."""
    limits = [
        words.format(item.metadata[name])
        for name, words in (("low", "at least {}"), ("above", "above {}"))
        if name in item.metadata
    ]
    if "choices" in item.metadata:
        several = not isinstance(item.type, type) or item.type is list or "list" in str(item.type)
        limits.append(
            ("among " if several else "one of ")
            + ", ".join(f"`{choice}`" for choice in item.metadata["choices"])
        )
    return "; ".join([item.metadata["doc"], *limits])


def written(value: Any) -> str:
    """A value as typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
