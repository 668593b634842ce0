"""Between pre-training and fine-tuning: one network's weights, under its own names, out of any checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from also_selfsup.checkpoints.reading import CheckpointError

State = dict[str, Tensor]  # weights by name

# What names in a Lightning checkpoint begin with: attributes of PretrainingModule and SegmentationModule.
BACKBONE, DECODER, NET = "backbone.", "decoder.", "net."
# Where files keep their weights: Lightning and convert_models.py, OpenPCDet; else the file is the table.
TABLES = ("state_dict", "model_state")
# Put around all names by DistributedDataParallel, and by the detector whose backbone is SECOND.
WRAPPERS = ("module.", "model.")
# Entries of published state dicts that count training steps and are no weights.
COUNTERS = ("global_step",)


def weights(checkpoint: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """The weights of one network in a checkpoint, under the names they have in that network.

    Reads checkpoints of Lightning (ours and the published code's), files of convert_models.py, plain state
    dicts, those of DistributedDataParallel and torch.compile, and SECOND's names with `model.` before them.

    Args:
        checkpoint: As `read_checkpoint` gives it, or a state dict.
        prefix: `BACKBONE`, `DECODER` or `NET`: which network, where the checkpoint holds several.

    Raises:
        CheckpointError: There are no weights, or only those of another kind of run.
    """
    table = state_table(checkpoint)
    there = {p for p in (BACKBONE, DECODER, NET) if any(name.startswith(p) for name in table)}
    if prefix and there and prefix not in there:
        raise CheckpointError(
            f"The checkpoint of a {kind_of(table)} run: its names begin with {', '.join(sorted(there))}, "
            f"none with {prefix}; take a checkpoint of the other kind, or a file of convert_models.py."
        )
    if prefix in there:
        table = {name[len(prefix) :]: tensor for name, tensor in table.items() if name.startswith(prefix)}
    return _unwrap(table)


def state_table(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """All weights of a checkpoint, under its own names without those that DDP and torch.compile add.

    Raises:
        CheckpointError: There are none.
    """
    held = next((checkpoint[key] for key in TABLES if isinstance(checkpoint.get(key), Mapping)), checkpoint)
    table = {str(k).replace("_orig_mod.", ""): v for k, v in held.items() if isinstance(v, Tensor)}
    if not table:
        raise CheckpointError(
            f"No weights in the checkpoint, neither under {' or '.join(TABLES)} nor as a plain state dict; "
            f"its keys are {some([str(key) for key in checkpoint])}."
        )
    return _unwrap(table, wrappers=("module.",))


def kind_of(table: Iterable[str]) -> str:
    """`pre-training`, `downstream`, or `plain` (converted already), from the names of the weights."""
    names = list(table)
    if any(name.startswith(NET) for name in names):
        return "downstream"
    return "pre-training" if any(name.startswith((BACKBONE, DECODER)) for name in names) else "plain"


def _unwrap(table: dict[str, Tensor], wrappers: Sequence[str] = WRAPPERS) -> dict[str, Tensor]:
    """Take a wrapper's name off, where every name has it."""
    for wrapper in wrappers:
        if all(name.startswith(wrapper) for name in table):
            table = {name[len(wrapper) :]: tensor for name, tensor in table.items()}
    return table


def rename(state: Mapping[str, Tensor], starts: Mapping[str, str]) -> tuple[State, tuple[str, ...]]:
    """Put other words at the start of names, and tell which names begin with none of them.

    Args:
        state: Weights by name.
        starts: New by old start of a name; no old one begins with another.

    Returns:
        The weights whose names could be changed, and the names of the others.
    """
    renamed: State = {}
    others = []
    for name, tensor in state.items():
        start = next((start for start in starts if name.startswith(start)), None)
        if start is None:
            others.append(name)
        else:
            renamed[starts[start] + name[len(start) :]] = tensor
    return renamed, tuple(others)


def some(names: Sequence[str]) -> str:
    """The first names of a list."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
