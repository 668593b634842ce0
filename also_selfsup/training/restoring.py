"""After training: the networks of a run with their weights, ready to be asked."""

from pathlib import Path

from also_selfsup.checkpoints.naming import BACKBONE, DECODER
from also_selfsup.checkpoints.pretrained import load_file
from also_selfsup.settings.schema import Settings
from also_selfsup.training.pretraining import PretrainingModule


def restore_pretraining(settings: Settings, path: Path) -> PretrainingModule:
    """Backbone and decoder with the weights of a checkpoint of pre-training.

    Args:
        settings: Of the run.
        path: `last.ckpt` or `best.ckpt`, or a checkpoint of the published code.

    Raises:
        CheckpointError: It cannot be read, is of another kind, or does not fit the settings.
    """
    module = PretrainingModule(settings)
    load_file(module.backbone, path, prefix=BACKBONE)
    load_file(module.decoder, path, prefix=DECODER)
    return module
