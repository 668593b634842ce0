"""Between pre-training, fine-tuning and evaluation: training's checkpoints become plain weights, and back.

| file | weights | names |
|---|---|---|
| `pretrained_backbone_NNN.ckpt` | the backbone after NNN epochs of pre-training | the backbone's own |
| `pretrained_classifier_NNN.ckpt` | the decoder, which fine-tuning does not need | the decoder's own |
| `trained_model_NNN.ckpt` | the segmentation network after NNN epochs of fine-tuning | the network's own |

Each holds `state_dict`, `part` (backbone, decoder, net), `epoch` (finished ones), `global_step`, `version`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from also_selfsup.checkpoints.naming import (
    BACKBONE,
    COUNTERS,
    DECODER,
    NET,
    kind_of,
    state_table,
    weights,
)
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint
from also_selfsup.checkpoints.writing import write_atomically

FILES = {"backbone": "pretrained_backbone", "decoder": "pretrained_classifier", "net": "trained_model"}
PREFIXES = {"backbone": BACKBONE, "decoder": DECODER, "net": NET}
VERSION = 1  # of these files' layout


@dataclass(frozen=True)
class Written:
    """A file that was written, and the number of weights in it."""

    path: Path
    count: int


def convert(path: Path, *, out: Path | None = None, downstream: bool = False) -> list[Written]:
    """Write the plain weights of a checkpoint of training.

    Args:
        path: A checkpoint of pre-training, or of fine-tuning.
        out: Folder to write to; the checkpoint's own by default.
        downstream: It is one of fine-tuning.

    Returns:
        The files: backbone and classifier, or the trained model.

    Raises:
        CheckpointError: The file cannot be read, or is of the other kind.
    """
    checkpoint = read_checkpoint(path)
    table = _table(path, checkpoint)
    _check_kind(path, kind_of(table), downstream=downstream)
    epoch, step = finished_epochs(checkpoint), int(checkpoint.get("global_step", 0))
    parts = ["net"] if downstream else ["backbone", "decoder"]
    if not any(name.startswith(DECODER) for name in table):  # published files may hold the backbone alone
        parts = parts[:1]
    written = []
    for part in parts:
        found = weights(checkpoint, PREFIXES[part])
        # Copies, because several tensors may share one storage, which would be saved with each of them.
        state = {name: tensor.clone() for name, tensor in found.items() if name not in COUNTERS}
        file = (out or path.parent) / f"{FILES[part]}_{epoch:03d}.ckpt"
        meta = {"part": part, "epoch": epoch, "global_step": step, "version": VERSION}
        write_atomically({"state_dict": state, **meta}, file)
        written.append(Written(file, len(state)))
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
    partner = path.with_name(path.name.replace(FILES["backbone"], FILES["decoder"]))
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


def _check_kind(path: Path, kind: str, *, downstream: bool) -> None:
    wanted = "downstream" if downstream else "pre-training"
    if kind == wanted:
        return
    if kind == "plain":
        raise CheckpointError(
            f"{path}: its names have no {BACKBONE} or {NET} before them: converted already."
        )
    cure = "leave --downstream out" if downstream else "add --downstream"
    raise CheckpointError(f"{path}: the checkpoint of a {kind} run, not of a {wanted} one; {cure}.")


def _table(path: Path, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        return state_table(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _part(path: Path, converted: Mapping[str, Any]) -> str:
    """`backbone`, `decoder` or `net`: as the file says, or its name where the published code wrote it."""
    named = next((part for part, name in FILES.items() if path.name.startswith(name)), "")
    part = str(converted.get("part", named))
    if part not in FILES or kind_of(_table(path, converted)) != "plain":
        raise CheckpointError(
            f"{path}: not a file of convert_models.py ({', '.join(FILES.values())}_NNN.ckpt)."
        )
    return part


def _prefixed(converted: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    return {PREFIXES[part] + name: tensor for name, tensor in state_table(converted).items()}
