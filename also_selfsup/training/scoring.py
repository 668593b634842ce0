"""Behind fine-tuning: the weights of a finished run, scored on every point of a split."""

from pathlib import Path

import torch
from torch import Tensor

from also_selfsup.checkpoints.pretrained import load_network
from also_selfsup.evaluation.whole_split import score_split
from also_selfsup.settings.names import UserError
from also_selfsup.settings.schema import Settings
from also_selfsup.training.building import segmentation_network, segmentation_transforms
from also_selfsup.training.datamodule import whole_split_loader
from also_selfsup.training.precision import arithmetic


def score_weights(settings: Settings, weights: Path, *, split: str) -> tuple[Tensor, tuple[str, ...]]:
    """Score a fine-tuned network as eval.py does, in the precision of the run.

    Args:
        settings: Of its run; `cfg.trainer.accelerator=cpu` keeps it off a GPU.
        weights: `trained_model_NNN.ckpt`.
        split: Of the data set.

    Returns:
        The confusion matrix (C, C), rows labels, on the CPU; and the C names of the classes.
    """
    loader, dataset = whole_split_loader(settings, split, labels=True)
    net = segmentation_network(settings, class_count=len(dataset.class_names))
    load_network(net, weights)
    device = task_device(settings)
    matrix = score_split(
        net.to(device),
        segmentation_transforms(settings),
        batches=loader,
        class_count=len(dataset.class_names),
        seed=settings.seed,
        arithmetic=arithmetic(settings.precision, device),
    )
    return matrix.cpu(), dataset.class_names


def device_named(name: str | None) -> torch.device:
    """The device that an option `--device` asks for, made the current one; None: a GPU if there is one.

    Raises:
        UserError: There is no such device.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter of a build of torch without CUDA
        said = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"--device {name}: {said}. Leave it out, or take cpu.") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)  # Triton launches where that is
    return device


def task_device(settings: Settings) -> torch.device:
    """A GPU if there is one and the settings allow it."""
    usable = torch.cuda.is_available() and settings.trainer.accelerator in ("auto", "gpu", "cuda")
    return torch.device("cuda" if usable else "cpu")
