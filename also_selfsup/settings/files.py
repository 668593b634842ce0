"""Before the first file is read: `config.yaml` of a run, written by us or by the published ALSO code."""

import logging
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import YAMLError  # OmegaConf reads its files with it

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import to_settings
from also_selfsup.settings.schema import Settings

logger = logging.getLogger(__name__)

# The names that the published ALSO code gives to settings of ours.
PUBLISHED_NAMES = {
    "network.backbone_name": "network.backbone",
    "network.decoder_name": "network.decoder",
    "network.backbone_params.voxel_size": "network.voxel_size",
    "network.decoder_params.column_search": "network.column_search",
    "network.decoder_params.radius": "network.radius",
    "transforms.grid_dec": "transforms.grid_size",
    "transforms.voxel_size": "network.voxel_size",
    "loss.recons_loss_lambda": "loss.recons_lambda",
    "loss.intensity_loss_lambda": "loss.intensity_lambda",
    "experiment_name": "name",
    "voxel_size": "network.voxel_size",
    "grid_size": "transforms.grid_size",
}


def save_settings(settings: Settings, path: Path) -> None:
    """Write the composed settings, exactly, as YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(_as_dictionary(settings))), encoding="utf-8")


def load_settings(path: Path) -> Settings:
    """Read a `config.yaml`.

    Files of the published code hold keys that mean nothing here (logged, not used) and call some settings by
    another name (translated).

    Raises:
        SettingsError: No such file, not YAML, or a value that the schema refuses.
    """
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; a run writes its config.yaml beside its checkpoints.")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: not a YAML file ({error}).") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected settings as key: value, found {type(content).__name__}.")
    known, unused = _known_part(content.get("cfg", content))
    if not known:
        raise SettingsError(
            f"{path}: holds no setting of a run; its keys are {', '.join(map(str, content)) or 'none'}."
        )
    if unused:
        logger.warning("%s: settings without a meaning here, not used: %s", path, ", ".join(unused))
    try:
        return to_settings(known)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _known_part(content: dict[str, Any]) -> tuple[Any, list[str]]:
    """The part of a file that the schema knows, under its names, and the keys that are left."""
    flat = {PUBLISHED_NAMES.get(key, key): value for key, value in _flatten(content, "")}
    names = {key for key, _ in _flatten(_as_dictionary(Settings()), "")}
    known = OmegaConf.create()
    for key, value in flat.items():
        if key in names:
            OmegaConf.update(known, key, value, force_add=True)
    return known, sorted(key for key in flat if key not in names)


def _as_dictionary(settings: Any) -> dict[str, Any]:
    return {
        item.name: _as_dictionary(value) if is_dataclass(value := getattr(settings, item.name)) else value
        for item in fields(settings)
    }


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        key = f"{prefix}{name}"
        pairs += _flatten(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return pairs
