"""Before a picture is made: what kind of checkpoint it is, its settings, and which scan is looked at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from also_selfsup.checkpoints.naming import kind_of, state_table
from also_selfsup.checkpoints.next_command import find_config
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.data.one_scan import read_one_scan
from also_selfsup.data.scan import Scan
from also_selfsup.settings.files import load_settings
from also_selfsup.settings.names import UserError
from also_selfsup.settings.overriding import override, with_data_of
from also_selfsup.settings.run import load, to_settings
from also_selfsup.settings.schema import Settings
from also_selfsup.training.datamodule import open_dataset


@dataclass(frozen=True)
class Wish:
    """Which scan the user wants to see.

    Attributes:
        scan: A file of its own; then the three others mean nothing.
        split: Of the settings' data set; None: the one that validated the training.
        frame: Number of a frame in the split, or its name.
        labels: Read labels too.
    """

    scan: Path | None = None
    split: str | None = None
    frame: str = "0"
    labels: bool = False


def is_segmentation(checkpoint: Mapping[str, Any], path: Path) -> bool:
    """Whether a checkpoint is one of fine-tuning (True) or of pre-training (False).

    Raises:
        CheckpointError: It holds a backbone, or a decoder, alone.
    """
    kind = kind_of(state_table(checkpoint))
    if kind == "plain" and checkpoint.get("part") != "net":
        raise CheckpointError(
            f"{path}: a converted file holds one part of the network, which is not enough to be looked at; "
            "name last.ckpt or best.ckpt of the run, or a trained_model_NNN.ckpt."
        )
    return kind != "pre-training"


def settings_of(
    checkpoint: Mapping[str, Any],
    path: Path,
    *,
    recipe: str | None,
    words: Sequence[str],
    segmentation: bool = False,
) -> Settings:
    """Settings of the run that a checkpoint is from, with the data of another recipe, and with changes.

    They stand in the config.yaml beside it (or up to three folders above), or in the checkpoint itself.

    Args:
        checkpoint: Its content.
        path: Its file.
        recipe: Whose scans are to be looked at; where the run's settings are not found, all is as it says.
        words: Changes, such as `cfg.dataset_root=/data/nuscenes`.
        segmentation: The network names classes, which the other recipe's data must have.

    Raises:
        SettingsError: A recipe, key or value is wrong.
        UserError: Neither file nor checkpoint tells the settings, and there is no recipe.
    """
    config, held = find_config(path), checkpoint.get("settings")
    if config is not None:
        settings = load_settings(config)
    elif isinstance(held, dict):
        settings = to_settings(held)
    elif recipe is not None:
        settings = load(recipe)
    else:
        raise UserError(
            f"{path}: no config.yaml beside it or above, and no settings in it; say --cfg RECIPE, the recipe "
            "that it was trained with."
        )
    if recipe is not None:
        other = load(recipe)
        if segmentation and other.dataset_name != settings.dataset_name:
            raise UserError(
                f"--cfg {recipe}: scans of {other.dataset_name}, and the network knows the classes of "
                f"{settings.dataset_name}; it can look at a file of another sensor with --scan."
            )
        settings = with_data_of(settings, other)
    return override(settings, words)


def find_scan(settings: Settings, wish: Wish, *, segmentation: bool) -> tuple[Scan, str]:
    """Read the scan that is to be looked at, and say which it is in words.

    Args:
        settings: Say where the data set is, and how its files are read.
        wish: Which one.
        segmentation: Every point is read, however near the sensor, and the split is that of fine-tuning.

    Raises:
        UserError: No such file, frame or split, or the scan has no point.
    """
    if wish.scan is not None:
        data = replace(settings.data, min_range=0.0) if segmentation else settings.data
        return _checked(read_one_scan(wish.scan, data), wish.scan.name)
    split = wish.split or (settings.downstream.val_split if segmentation else settings.val_split)
    alone = replace(settings, data=replace(settings.data, query_frames=0))
    dataset = open_dataset(alone, split, labels=wish.labels, every_point=segmentation)
    place = f"the split {split} of {settings.dataset_name} in {dataset.root}"
    if re.fullmatch(r"-?\d+", wish.frame):
        number = int(wish.frame)
        if not -len(dataset) <= number < len(dataset):
            raise UserError(f"--frame {number}: {place} has {len(dataset)} frames, 0 to {len(dataset) - 1}.")
    else:
        try:
            number = dataset.index_of(wish.frame)
        except KeyError:
            first = dataset.name(0) if len(dataset) else "none"
            raise UserError(
                f"--frame {wish.frame}: no frame of {place}; give its number or its name, such as {first}."
            ) from None
    number %= len(dataset)
    return _checked(dataset[number], f"{settings.dataset_name} {split}, frame {number}")


def _checked(scan: Scan, words: str) -> tuple[Scan, str]:
    if len(scan.pos) == 0:
        raise UserError(f"{scan.finding or scan.name}: no point to look at; choose another scan.")
    return scan, words
