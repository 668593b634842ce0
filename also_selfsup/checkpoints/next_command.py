"""Behind training and converting: the command that a user types next, ready to be pasted."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from also_selfsup.settings.files import flat_values, load_settings
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import CONFIGS, load, recipes
from also_selfsup.settings.schema import Settings

# Settings that a later run must share with the pre-training, or its weights and data would not fit.
SHARED = (
    "name",
    "dataset_name",
    "dataset_root",
    "save_dir",
    "inputs",
    "manifold_points",
    "transforms.grid_size",
    "network.backbone",
    "network.framework",
    "network.voxel_size",
)
# OpenPCDet's configuration of SECOND for what was pre-trained on a data set.
OPENPCDET_CONFIGS = {
    **dict.fromkeys(("KITTI3D", "KITTI360", "NuScenes"), "kitti_models/second"),
    "ONCE": "once_models/second",
}


def find_config(checkpoint: Path) -> Path | None:
    """The config.yaml of the run that a checkpoint lies in: in its folder, or at most three folders above."""
    folders = checkpoint.resolve().parents[:4]
    return next((f / "config.yaml" for f in folders if (f / "config.yaml").is_file()), None)


def run_settings(checkpoint: Path) -> Settings | None:
    """Settings of the run that a checkpoint lies in; None where no readable config.yaml is found."""
    config = find_config(checkpoint)
    try:
        return load_settings(config) if config else None
    except SettingsError:  # the weights can be used all the same: the command has a gap to fill in then
        return None


def fine_tune_command(weights: Path, settings: Settings | None) -> str:
    """Command that fine-tunes from `weights`, with the recipe and changes of the pre-training."""
    words = [
        *_recipe_and_changes(settings),
        override("downstream.checkpoint_dir", short(weights.parent)),
        override("downstream.checkpoint_name", weights.name),
    ]
    return shlex.join(["python", "also_selfsup/train_downstream_semseg.py", *words])


def pretrain_command(weights: Path) -> str:
    """Command that pre-trains from `weights`; the recipe is for the user to choose."""
    words = ["cfg=RECIPE", override("training.init_from", short(weights))]
    return shlex.join(["python", "also_selfsup/train_selfsupervised.py", *words])


def detect_command(weights: Path, settings: Settings | None) -> str:
    """Command that fine-tunes SECOND of OpenPCDet from `weights`; CONFIG where its data are not known."""
    config = OPENPCDET_CONFIGS.get(settings.dataset_name if settings else "", "CONFIG")
    words = f"python train.py --cfg_file cfgs/{config}.yaml --batch_size 4 --epochs 80 --pretrained_model"
    return f"cd OpenPCDet/tools && {words} {shlex.quote(str(weights.resolve()))} --extra_tag also"


def missing_recipe(settings: Settings | None) -> str | None:
    """What to put for RECIPE in a command where the run's settings do not tell; None where they do."""
    if settings is None:
        return "RECIPE stands for the recipe of the pre-training, of which no config.yaml was found."
    if settings.name in recipes():
        return None
    return (
        f"RECIPE stands for the recipe of the pre-training, which cfg.name={settings.name} is not: "
        f"one of {', '.join(recipes())}."
    )


def evaluate_command(weights: Path, settings: Settings | None, *, config: Path | None = None) -> str:
    """Command that scores the trained model in `weights`; `config` where it lies apart from its run."""
    config = config or find_config(weights)
    split = settings.downstream.val_split if settings else "val"
    words = ["--split", split, "--config", short(config) if config else "RUN/config.yaml"]
    return shlex.join(["python", "also_selfsup/eval.py", *words, "--ckpt", short(weights)])


def convert_command(checkpoint: Path, *, downstream: bool = False) -> str:
    """Command that converts a checkpoint of training."""
    flag = ["--downstream"] if downstream else []
    return shlex.join(["python", "also_selfsup/convert_models.py", *flag, "--ckpt", short(checkpoint)])


def resume_command(arguments: Sequence[str]) -> str:
    """Command that continues a run: the one that was typed, as in sys.argv, with cfg.resume=auto."""
    script, *words = arguments
    kept = [word for word in words if not word.startswith("cfg.resume=")]
    return shlex.join(["python", script, *kept, "cfg.resume=auto"])


def short(path: Path) -> str:
    """A path as typed from the root of the checkout, where it lies below it."""
    path, root = path.resolve(), CONFIGS.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _recipe_and_changes(settings: Settings | None) -> list[str]:
    """The recipe that settings were made from and what was changed; every fact where it is not known."""
    if settings is None:
        return ["cfg=RECIPE"]
    now = flat_values(settings)
    if settings.name not in recipes():
        return ["cfg=RECIPE", *(override(key, now[key]) for key in SHARED)]
    before = flat_values(load(settings.name))
    return [f"cfg={settings.name}", *(override(key, now[key]) for key in SHARED if now[key] != before[key])]


def override(key: str, value: Any) -> str:
    """A word of Hydra's command line; a value with a character of its grammar stands in quotes."""
    if value is None:
        return f"cfg.{key}=null"
    text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
    if not isinstance(value, list) and not re.fullmatch(r"[\w./+:~-]+", text):
        text = "'" + re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", "\\'") + "'"
    return f"cfg.{key}={text}"
