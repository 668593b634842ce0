"""Between pre-training, fine-tuning and evaluation: training's checkpoints become plain weights, and back.

| file | weights | names |
|---|---|---|
| `pretrained_backbone_NNN.ckpt` | the backbone after NNN epochs of pre-training | the backbone's own |
| `pretrained_classifier_NNN.ckpt` | the decoder, which fine-tuning does not need | the decoder's own |
| `trained_model_NNN.ckpt` | the segmentation network after NNN epochs of fine-tuning | the network's own |

Each holds `state_dict`, `part` (backbone, decoder, net), `epoch` (finished ones), `global_step`, `version`.
SECOND's backbone becomes a file for OpenPCDet instead, and others on demand become one for another library:
with the weights where that library looks for them, and `format` in place of `version`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from also_selfsup.checkpoints.converted import FILES, Written, suffix, without_counters, write_converted
from also_selfsup.checkpoints.handover import foreign_format, restore_ours, usual_format
from also_selfsup.checkpoints.naming import (
    BACKBONE,
    DECODER,
    NET,
    State,
    kind_of,
    state_table,
    weights,
)
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint
from also_selfsup.checkpoints.writing import write_atomically

PREFIXES = {"backbone": BACKBONE, "decoder": DECODER, "net": NET}


def convert(
    path: Path,
    *,
    out: Path | None = None,
    downstream: bool = False,
    to: str | None = None,
    spconv: int | None = None,
) -> list[Written]:
    """Write the plain weights of a checkpoint of training.

    Args:
        path: A checkpoint of pre-training, or of fine-tuning.
        out: Folder to write to; the checkpoint's own by default.
        downstream: It is one of fine-tuning.
        to: Format of the backbone's file, a name in `FORMATS`; by default the one it is used in next.
        spconv: Version of spconv whose layout the file shall have, where the format has a choice.

    Returns:
        The files: backbone and classifier (where `to` leaves room for it), or the trained model.

    Raises:
        CheckpointError: The file cannot be read, is of the other kind, or the format cannot hold its network.
    """
    checkpoint = read_checkpoint(path)
    table = _table(path, checkpoint)
    _check_kind(path, table, downstream=downstream)
    part = "net" if downstream else "backbone"
    state = without_counters(weights(checkpoint, PREFIXES[part]))
    target = to or ("also" if downstream else usual_format(state))
    usual = target == usual_format(state) and spconv in (None, 2)
    meta = {"epoch": finished_epochs(checkpoint), "global_step": int(checkpoint.get("global_step", 0))}
    stem = f"{FILES[part]}_{meta['epoch']:03d}{'' if usual else suffix(target, spconv)}"
    file = (out or path.parent) / f"{stem}.ckpt"
    written = [write_converted(state, file, {"part": part, **meta}, to=target, spconv=spconv, source=path)]
    # Published files may hold the backbone alone.
    if not downstream and to in (None, "also") and any(name.startswith(DECODER) for name in table):
        decoder = without_counters(weights(checkpoint, DECODER))
        file = file.with_name(f"{FILES['decoder']}_{meta['epoch']:03d}.ckpt")
        written.append(write_converted(decoder, file, {"part": "decoder", **meta}, to="also", source=path))
    return written


def restore(path: Path, *, out: Path | None = None) -> Written:
    """Turn a converted file back: weights under the names of Lightning's checkpoints, bit for bit.

    A `pretrained_backbone_NNN.ckpt` takes the classifier beside it along. The result holds no optimiser:
    it can be converted, evaluated and fine-tuned from, but training cannot resume from it.

    Args:
        path: A file that `convert` wrote.
        out: Folder to write to; the file's own by default.

    Returns:
        `pretraining_NNN.ckpt` or `downstream_NNN.ckpt`.

    Raises:
        CheckpointError: The file cannot be read, or is none of `convert`'s.
    """
    converted = read_checkpoint(path)
    part = _part(path, converted)
    table = _prefixed(converted, part)
    partner = path.with_name(
        re.sub(rf"^{FILES['backbone']}(_\d+)?.*", rf"{FILES['decoder']}\1.ckpt", path.name)
    )
    if part == "backbone" and partner != path and partner.is_file():
        table |= _prefixed(read_checkpoint(partner), "decoder")
    epoch, step = int(converted.get("epoch", 0)), int(converted.get("global_step", 0))
    name = f"{'downstream' if part == 'net' else 'pretraining'}_{epoch:03d}.ckpt"
    # Lightning counts epochs from 0 and names the last one; finished_epochs reads it so.
    content = {"state_dict": table, "epoch": epoch - 1, "global_step": step}
    write_atomically(content, file := (out or path.parent) / name)
    return Written(file, len(table))


def finished_epochs(checkpoint: Mapping[str, Any]) -> int:
    """How many epochs of training were complete when the checkpoint was written.

    Lightning's `epoch` alone does not tell: within an epoch's last hooks it is one less than after them. Its
    progress counts do: epochs begun, and whether the batches of the last one are through.
    """
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    begun = loop.get("epoch_progress", {}).get("current", {}).get("ready")
    batches = loop.get("epoch_loop.batch_progress", {})
    if begun is None:
        return int(checkpoint.get("epoch", -1)) + 1
    return int(begun) if batches.get("is_last_batch", True) else int(begun) - 1


def _check_kind(path: Path, table: State, *, downstream: bool) -> None:
    kind, wanted = kind_of(table), "downstream" if downstream else "pre-training"
    library = None if any(name.startswith(DECODER) for name in table) else foreign_format(table)
    if kind == wanted and library is None:
        return
    if kind == "plain" or library:
        raise CheckpointError(
            f"{path}: its names have no {BACKBONE} or {NET} before them: converted already"
            + (f", or a checkpoint of {library}" if library else "")
            + f"; --from {library or 'also'} --to FORMAT brings it into another format."
        )
    cure = "leave --downstream out" if downstream else "add --downstream"
    raise CheckpointError(f"{path}: the checkpoint of a {kind} run, not of a {wanted} one; {cure}.")


def _table(path: Path, checkpoint: Mapping[str, Any]) -> State:
    try:
        return state_table(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _part(path: Path, converted: Mapping[str, Any]) -> str:
    """`backbone`, `decoder` or `net`: as the file says, or its name where the published code wrote it."""
    named = next((part for part, name in FILES.items() if path.name.startswith(name)), "")
    part = str(converted.get("part", named))
    ours = "format" in converted or kind_of(_table(path, converted)) == "plain"
    if part not in FILES or not ours:
        raise CheckpointError(
            f"{path}: not a file of convert_models.py ({', '.join(FILES.values())}_NNN.ckpt)."
        )
    return part


def _prefixed(converted: Mapping[str, Any], part: str) -> State:
    """The weights of a converted file under the names of Lightning's checkpoints."""
    written_as = str(converted.get("format", "also"))
    state = state_table(converted) if written_as == "also" else restore_ours(converted, written_as)[0]
    return {PREFIXES[part] + name: tensor for name, tensor in state.items()}
