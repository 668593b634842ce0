"""Before the first file is read: what each setting may be, and messages that name key, value and choices."""

import math
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from also_selfsup.settings.extent import ExtentError, view_cells
from also_selfsup.settings.names import UserError
from also_selfsup.settings.schema import Network, Settings

# Backbones whose latents belong to the cells of a bird's-eye view.
BIRDS_EYE = ("SECOND",)


class SettingsError(UserError):
    """A setting is misspelt, of the wrong type, out of range, or contradicts another one."""


def check(settings: Settings) -> Settings:
    """Return `settings` if every value is within its limits and none contradicts another.

    Raises:
        SettingsError: The message names the key, the value and what is allowed.
    """
    _check_group(settings, "cfg")
    _check_places(settings)
    _check_voxel_size(settings.network.voxel_size)
    _check_view(settings.network)
    _check_probes(settings)
    _check_batch_limit("limit_train_batches", settings.trainer.limit_train_batches, least=1)
    _check_batch_limit("limit_val_batches", settings.trainer.limit_val_batches, least=0)
    _check_together(settings)
    return settings


def unknown_key(key: str) -> str:
    """Message for a key such as `cfg.training.batchsize` that is not in the schema."""
    parent, _, name = key.rpartition(".")
    if not key.startswith("cfg."):
        return f"{key}: no such key; settings start with cfg, as in cfg.training.lr=0.001."
    group = group_at(parent)
    if group is None:
        return unknown_key(parent)
    names = [f.name for f in fields(group)]
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{key}: no such setting.{hint} {parent} has: {', '.join(names)}."


def wrong_type(key: str, value: Any) -> str:
    """Message for a value of another type than the schema's."""
    parent, _, name = key.rpartition(".")
    group = group_at(parent)
    known = {f.name: f for f in fields(group)} if group is not None else {}
    if name not in known:
        return f"{key}={value}: a value of the wrong type."
    found = known[name]
    if is_dataclass(inner := getattr(group, name)):
        first = fields(inner)[0].name
        return f"{key}={value}: a group of settings, not one of them; set {key}.{first}, for example."
    kind = found.type if isinstance(found.type, str) else getattr(found.type, "__name__", str(found.type))
    return f"{key}={value}: expected {kind} ({found.metadata['doc']})."


def group_at(path: str) -> Any:
    """The settings group at a dotted path that starts with `cfg`, or None."""
    first, *rest = path.split(".")
    group: Any = Settings() if first == "cfg" else None
    for name in rest:
        group = getattr(group, name, None)
    return group if is_dataclass(group) else None


def _check_group(group: Any, path: str) -> None:
    for item in fields(group):
        value, key = getattr(group, item.name), f"{path}.{item.name}"
        if is_dataclass(value):
            _check_group(value, key)
        elif value is not None:
            for one in value if isinstance(value, list) else [value]:
                _check_value(one, key, item.metadata)


def _check_value(value: Any, key: str, metadata: Any) -> None:
    unit = f" {metadata['unit']}" if "unit" in metadata else ""
    if "choices" in metadata and value not in metadata["choices"]:
        raise SettingsError(f"{key}={value}: choose one of {', '.join(metadata['choices'])}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{key}={value}: must be a finite number ({metadata['doc']}).")
    if "low" in metadata and not value >= metadata["low"]:
        raise SettingsError(f"{key}={value}: must be at least {metadata['low']}{unit} ({metadata['doc']}).")
    if "above" in metadata and not value > metadata["above"]:
        raise SettingsError(f"{key}={value}: must be above {metadata['above']}{unit} ({metadata['doc']}).")


def _check_places(settings: Settings) -> None:
    name = settings.name
    if not name.strip() or name in (".", "..") or "/" in name:
        raise SettingsError(
            f"cfg.name={name}: must name one folder, which is made under cfg.save_dir, without a /; say with "
            "cfg.save_dir where results go."
        )
    if not settings.save_dir.strip():
        raise SettingsError(f"cfg.save_dir={settings.save_dir}: no folder; name one, such as results.")


def _check_batch_limit(name: str, limit: Any, *, least: int) -> None:
    if limit is None or (type(limit) is int and limit >= least):
        return
    if type(limit) is float and 0 <= limit <= 1 and (limit > 0 or least == 0):
        return
    raise SettingsError(
        f"cfg.trainer.{name}={limit}: a count of batches ({least} or more), or a share of them "
        f"({'above 0.0' if least else '0.0'} to 1.0)."
    )


def _check_voxel_size(size: Any) -> None:
    numbers = size if isinstance(size, list | tuple) else [size]
    right = all(type(n) in (int, float) and 0 < n < math.inf for n in numbers)
    if not right or len(numbers) not in (1, 3):
        raise SettingsError(
            f"cfg.network.voxel_size={size}: a length above 0 m, or three of them for x, y, z."
        )


def _check_view(network: Network) -> None:
    if network.backbone not in BIRDS_EYE:
        if network.extent is not None:
            raise SettingsError(
                f"cfg.network.extent={network.extent}: cfg.network.backbone={network.backbone} sees all "
                f"points; an extent goes with {', '.join(BIRDS_EYE)} only."
            )
        return
    if network.extent is None:
        raise SettingsError(
            f"cfg.network.extent=null: cfg.network.backbone={network.backbone} needs the box that it sees, "
            "such as [0,-40,-3,70.4,40,1] (x_min, y_min, z_min, x_max, y_max, z_max in metres)."
        )
    if not network.column_search:
        raise SettingsError(
            f"cfg.network.column_search=false: latents of cfg.network.backbone={network.backbone} have no "
            "height; set cfg.network.column_search=true."
        )
    if network.framework == "torchsparse":
        raise SettingsError(
            f"cfg.network.framework=torchsparse: it knows no bounded grid, which {network.backbone} needs; "
            "take native or spconv."
        )
    try:
        view_cells(network.extent, network.voxel_size)
    except ExtentError as error:
        raise SettingsError(str(error)) from error


def _check_probes(settings: Settings) -> None:
    interval, split = settings.probes.interval, settings.probes.split or settings.val_split
    if interval and settings.network.backbone in BIRDS_EYE:
        raise SettingsError(
            f"cfg.probes.interval={interval}: probes need features of points, and those of "
            f"cfg.network.backbone={settings.network.backbone} belong to cells; set it to 0."
        )
    if interval and split == settings.train_split:
        raise SettingsError(
            f"cfg.probes.split={split}: the network trains on these scans (cfg.train_split); probe another "
            "split, such as that of the validation."
        )


def _check_together(settings: Settings) -> None:
    downstream = settings.downstream
    if not settings.inputs:
        raise SettingsError("cfg.inputs=[]: the network needs intensities, pos or both.")
    if (downstream.checkpoint_dir is None) != (downstream.checkpoint_name is None):
        raise SettingsError(
            f"cfg.downstream.checkpoint_dir={downstream.checkpoint_dir} and "
            f"cfg.downstream.checkpoint_name={downstream.checkpoint_name}: both, or neither (scratch)."
        )
    if downstream.linear_probe and downstream.checkpoint_name is None:
        raise SettingsError(
            "cfg.downstream.linear_probe=true: probing needs weights; set cfg.downstream.checkpoint_name."
        )
    if downstream.probe_hidden and not downstream.linear_probe:
        raise SettingsError(
            "cfg.downstream.probe_hidden=true: fine-tuning has no hidden layer; it goes with "
            "cfg.downstream.linear_probe=true."
        )
    if settings.trainer.checkpoint_activations and settings.network.backbone in BIRDS_EYE:
        raise SettingsError(
            f"cfg.trainer.checkpoint_activations=true: cfg.network.backbone={settings.network.backbone} has "
            "no residual blocks whose activations could be freed; set it to false."
        )
    if settings.loss.recons_lambda == settings.loss.intensity_lambda == 0:
        raise SettingsError(
            "cfg.loss.recons_lambda=0 and cfg.loss.intensity_lambda=0: nothing would be learnt."
        )
