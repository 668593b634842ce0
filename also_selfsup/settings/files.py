"""Before the first file is read: `config.yaml` of a run, written by us or by the published ALSO code."""

import logging
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # OmegaConf reads its files with it

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import explain, to_settings
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
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(asdict(settings))), encoding="utf-8")


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
        content = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: not a YAML file ({error}).") from error
    part = content.get("cfg", content) if isinstance(content, DictConfig) else content
    if not isinstance(part, DictConfig):
        raise SettingsError(f"{path}: expected settings as key: value, found {type(part).__name__}.")
    try:
        known, unused = _known_part(part)
        if not known:
            keys = ", ".join(map(str, part)) or "none"
            raise SettingsError(f"holds no setting of a run; its keys are {keys}.")
        settings = to_settings(known)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    if unused:
        logger.warning("%s: settings without a meaning here, not used: %s", path, ", ".join(unused))
    return settings


def flat_values(settings: Settings) -> dict[str, Any]:
    """All values by dotted name without `cfg`, such as `training.lr`."""
    return dict(_flatten(asdict(settings), ""))


def _known_part(content: DictConfig) -> tuple[dict[str, Any], list[str]]:
    """The part of a file that the schema knows, under its names, and the keys that are left."""
    flat = _flatten(cast(dict[str, Any], OmegaConf.to_container(content)), "")
    names = flat_values(Settings())
    known: dict[str, Any] = {}
    unused = []
    for key, value in flat:
        name = PUBLISHED_NAMES.get(key, key)
        if name not in names:
            unused.append(key)
            continue
        if isinstance(value, str) and "${" in value:
            value = _resolved(content, key)
        *groups, last = name.split(".")
        reduce(lambda tree, group: tree.setdefault(group, {}), groups, known)[last] = value
    return known, sorted(unused)


def _resolved(content: DictConfig, key: str) -> Any:
    """The value behind a reference of the file (`${...}`)."""
    try:
        return OmegaConf.select(content, key)
    except OmegaConfBaseException as error:
        raise SettingsError(explain(error, below="cfg.")) from error


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        key = f"{prefix}{name}"
        pairs += _flatten(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return pairs
