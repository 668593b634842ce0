"""Between other libraries and pre-training: their backbones as a start for ours, or for each other."""

import re
from pathlib import Path

from also_selfsup.checkpoints.converted import Written, suffix, without_counters, write_converted
from also_selfsup.checkpoints.handover import FORMATS, restore_ours
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint


def take_over(
    path: Path, source: str, *, to: str | None = None, out: Path | None = None, spconv: int | None = None
) -> Written:
    """Bring a backbone from one library's format into another's, or into ours, to start from.

    Args:
        path: A checkpoint of that library: of a whole detector or segmentor, or of the backbone alone.
        source: Its format, a name in `FORMATS`.
        to: Format of the result; ours by default.
        out: Folder to write to; the checkpoint's own by default.
        spconv: As in `convert`.

    Returns:
        `<name>_<format>.ckpt`.

    Raises:
        CheckpointError: The file cannot be read, one of the formats cannot hold its network, or the result
            would replace it.
    """
    checkpoint, target = read_checkpoint(path), to or "also"
    try:
        state, left_out = restore_ours(checkpoint, source)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    stem = re.sub(rf"_({'|'.join(FORMATS)})(_spconv1)?$", "", path.stem)
    file = (out or path.parent) / f"{stem}{suffix(target, spconv)}.ckpt"
    if file == path:
        raise CheckpointError(f"{path}: the result would replace it; choose another folder (--out).")
    epoch, step = (checkpoint.get(key) for key in ("epoch", "global_step"))
    meta = {
        "part": str(checkpoint.get("part", "backbone")),
        "epoch": epoch if isinstance(epoch, int) else 0,
        "global_step": step if isinstance(step, int) else 0,
    }
    return write_converted(
        without_counters(state), file, meta, to=target, spconv=spconv, source=path, left_out=left_out
    )
