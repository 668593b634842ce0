"""Before the first file is read: the composed configuration becomes frozen, checked settings."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from also_selfsup.settings.limits import SettingsError, check, unknown_key, wrong_type
from also_selfsup.settings.schema import Settings

PACKAGE = Path(__file__).resolve().parents[1]
CONFIGS = PACKAGE.parent / "configs"


def entry(task: Callable[[Settings], None]) -> Callable[[], None]:
    """Make `task` the main function of a script with Hydra's command line (`cfg=nuscenes cfg.seed=1`)."""
    register()

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
    @functools.wraps(task)
    def composed(config: DictConfig) -> None:
        task(to_settings(config.cfg))

    @functools.wraps(task)
    def main() -> None:
        try:
            _refuse_early(sys.argv[1:])
            composed()
        except SettingsError as error:
            sys.exit(f"error: {error}")

    return main


def load(recipe: str, overrides: list[str] | None = None) -> Settings:
    """Compose a recipe with overrides (`["cfg.seed=1"]`), as the command line does.

    Raises:
        SettingsError: A key or value is wrong; the message names it and what is allowed.
    """
    return to_settings(_compose([f"cfg={recipe}", *(overrides or [])]).cfg)


def to_settings(config: Any) -> Settings:
    """Frozen settings from a configuration node (or plain dictionary) of the schema's shape.

    Raises:
        SettingsError: As `load`.
    """
    try:
        merged = OmegaConf.merge(writable_schema(), config)
        return check(cast(Settings, OmegaConf.to_object(merged)))
    except OmegaConfBaseException as error:
        raise SettingsError(explain(error)) from error


def register() -> None:
    """Store the schema where configs/config.yaml finds it."""
    ConfigStore.instance().store("schema", OmegaConf.create({"cfg": writable_schema()}))


def writable_schema() -> DictConfig:
    """The schema as a node that files and overrides may change (frozen dataclasses make read-only nodes)."""
    node = OmegaConf.structured(Settings)
    for part in [node, *(value for value in node.values() if isinstance(value, DictConfig))]:
        OmegaConf.set_readonly(part, None)
    return cast(DictConfig, node)


def resolve_path(path: str) -> Path:
    """Absolute path of a setting; relative ones start at the working directory.

    The scripts may be started from the package's own folder too: there the root of the checkout is meant, or
    `data/nuscenes` would lie among the sources.
    """
    here = Path.cwd()
    return ((here.parent if here == PACKAGE else here) / Path(path).expanduser()).resolve()


def explain(error: BaseException) -> str:
    """One message with key, value and choices from an error of Hydra or OmegaConf."""
    chain = []
    step: BaseException | None = error
    while step is not None:
        chain.append(step)
        step = step.__cause__ or step.__context__
    for cause in chain:
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            key = cause.full_key if cause.full_key.startswith("cfg") else f"cfg.{cause.full_key}"
            if "not in" in str(cause.msg):
                return unknown_key(key)
            return wrong_type(key, cause.value)
    return " ".join(str(error).partition("Config search path")[0].split())


def _compose(overrides: list[str]) -> DictConfig:
    register()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose("config", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(explain(error)) from error


def _refuse_early(arguments: list[str]) -> None:
    """Explain a bad command line in our words; Hydra's own message names neither the choices nor the file."""
    if not any(argument.startswith("-") for argument in arguments):
        to_settings(_compose(arguments).cfg)
