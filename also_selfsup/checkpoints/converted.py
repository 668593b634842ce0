"""Between pre-training and what comes next: files of plain weights, in our format or another library's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from also_selfsup.checkpoints.handover import FORMATS, export
from also_selfsup.checkpoints.naming import COUNTERS, State, some
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.checkpoints.second import PUBLISHED_PREFIX, to_layout, unlike_published
from also_selfsup.checkpoints.writing import write_atomically

FILES = {"backbone": "pretrained_backbone", "decoder": "pretrained_classifier", "net": "trained_model"}
VERSION = 1  # of these files' layout


@dataclass(frozen=True)
class Written:
    """A file that was written, the number of weights in it, and what a user has to know about it."""

    path: Path
    count: int
    format: str = "also"
    notes: tuple[str, ...] = field(default=(), compare=False)


def write_converted(
    state: State,
    file: Path,
    meta: Mapping[str, Any],
    *,
    to: str,
    spconv: int | None = None,
    source: Path,
    left_out: tuple[str, ...] = (),
) -> Written:
    """Write weights of ours as a file of a format.

    Args:
        state: Under our names.
        file: To make or replace.
        meta: What else the file shall say.
        to: Format, a name in `FORMATS`.
        spconv: Version of spconv for its kernels, where the format has a choice.
        source: Where the weights come from, for messages.
        left_out: Names of that file which are not among `state`.

    Raises:
        CheckpointError: The format cannot hold this network.
    """
    try:
        exported, more = export(state, to, spconv=spconv)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    # Copies, because several tensors may share one storage, which would be saved with each of them.
    copies = {name: tensor.clone() for name, tensor in exported.items()}
    kind = {"version": VERSION} if to == "also" else {"format": to}  # OpenPCDet takes `version` for its own
    write_atomically({FORMATS[to].table: copies, **meta, **kind}, file)
    return Written(file, len(copies), to, _notes(state, (*left_out, *more), to=to))


def _notes(state: State, left_out: tuple[str, ...], *, to: str) -> tuple[str, ...]:
    """What a user has to know: weights that did not come along, weights that OpenPCDet would not take."""
    notes = []
    if left_out:
        notes.append(f"left out {len(left_out)} that have no place there: {some(left_out)}")
    if to == "openpcdet" and (unlike := unlike_published(to_layout(state, 2))):
        notes.append(
            f"{len(unlike)} of another shape than in OpenPCDet's second.yaml, which would skip them in "
            f"silence ({some(unlike)}); give the detector the inputs and the range of the pre-training"
        )
    return tuple(notes)


def suffix(to: str, spconv: int | None) -> str:
    """End of the name of a file in a format that is not the usual one."""
    return f"_{to}" + ("_spconv1" if spconv == 1 else "")


def without_counters(state: State) -> State:
    """The weights without the published counters of training steps."""
    return {
        name: tensor for name, tensor in state.items() if name.removeprefix(PUBLISHED_PREFIX) not in COUNTERS
    }
