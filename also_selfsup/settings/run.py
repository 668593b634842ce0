"""Before the first file is read: the composed configuration becomes frozen, checked settings."""

import functools
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
    ValidationError,
)

from also_selfsup.settings.limits import SettingsError, check, unknown_key, wrong_type
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import one_line_endings, set_up_terminal

PACKAGE = Path(__file__).resolve().parents[1]
CONFIGS = PACKAGE.parent / "configs"


def entry(task: Callable[[Settings], None]) -> Callable[[], None]:
    """Make `task` the main function of a script with Hydra's command line (`cfg=nuscenes cfg.seed=1`).

    A `UserError`, of the command line or of the task, and Ctrl-C end the script as `one_line_endings` says.
    """
    register()

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
    @functools.wraps(task)
    def composed(config: DictConfig) -> None:
        with one_line_endings():  # here, because Hydra would report a UserError in a traceback
            task(to_settings(config.cfg))

    @functools.wraps(task)
    def main() -> None:
        set_up_terminal()
        with one_line_endings():
            _refuse_early(sys.argv[1:])
            composed()

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
        # As a plain dictionary: a node would bring keys along that were forced into it (+cfg.new=1).
        plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
        merged = OmegaConf.merge(writable_schema(), plain)
        return check(cast(Settings, OmegaConf.to_object(merged)))
    except OmegaConfBaseException as error:
        raise SettingsError(explain(error, below="cfg.")) from error


def register() -> None:
    """Store the schema where configs/config.yaml finds it."""
    ConfigStore.instance().store("schema", OmegaConf.create({"cfg": writable_schema()}))


def writable_schema() -> DictConfig:
    """The schema as a node that files and overrides may change (frozen dataclasses make read-only nodes)."""
    node = OmegaConf.structured(Settings)
    for part in [node, *(value for value in node.values() if isinstance(value, DictConfig))]:
        OmegaConf.set_readonly(part, None)
    return cast(DictConfig, node)


def recipes() -> list[str]:
    """Names for `cfg=NAME`: the files of configs/cfg."""
    return sorted(path.stem for path in (CONFIGS / "cfg").glob("*.yaml"))


def resolve_path(path: str) -> Path:
    """Absolute path of a setting; relative ones start at the working directory.

    The scripts may be started from the package's own folder too: there the root of the checkout is meant, or
    `data/nuscenes` would lie among the sources. A path that leaves that folder (`../data`) is taken as it is.
    """
    given, here = Path(path).expanduser(), Path.cwd()
    start = here.parent if here == PACKAGE and given.parts[:1] != ("..",) else here
    return (start / given).resolve()


def explain(error: BaseException, *, below: str = "") -> str:
    """One message with key, value and choices from an error of Hydra or OmegaConf.

    Args:
        error: The error.
        below: Where the keys that it names begin, such as `cfg.`, unless they say so themselves.
    """
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, OmegaConfBaseException) and step.full_key:
            key = step.full_key if step.full_key.startswith("cfg") else f"{below}{step.full_key}"
            if isinstance(step, InterpolationResolutionError):
                return f"{key}: {str(step.msg).splitlines()[0]}."
            if isinstance(step, ConfigAttributeError | ConfigKeyError) and not key.startswith("hydra."):
                return unknown_key(key)
            if isinstance(step, ValidationError):
                return wrong_type(key, step.value)
        step = step.__cause__ or step.__context__
    return " ".join(str(error).partition("Config search path")[0].split())


def _compose(overrides: list[str]) -> DictConfig:
    register()
    try:
        # Inside a running script Hydra has its folder already, and refuses to be told again.
        running = GlobalHydra.instance().is_initialized()
        with nullcontext() if running else initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose("config", overrides)
    except MissingConfigException as error:
        asked = str(error.missing_cfg_file).replace("/", "=")
        raise SettingsError(f"{asked}: no such recipe; choose one of {', '.join(recipes())}.") from error
    except OverrideParseException as error:
        raise SettingsError(
            f"{error.override}: cannot be read as KEY=VALUE. A value with one of = , : ( ) {{ }} or a blank "
            "stands in quotes inside the quotes of the shell: 'cfg.name=\"a=b\"'."
        ) from error
    except ValueError as error:  # Hydra's, of cfg=1, cfg=null and their like
        raise SettingsError(f"Say cfg=RECIPE, which is one of {', '.join(recipes())} ({error}).") from error
    except (HydraException, OmegaConfBaseException) as error:
        if "You must specify 'cfg'" in str(error):
            raise SettingsError(f"Say cfg=RECIPE, which is one of {', '.join(recipes())}.") from error
        raise SettingsError(explain(error)) from error
    if foreign := [str(key) for key in config if key != "cfg"]:
        raise SettingsError(unknown_key(foreign[0]))
    return config


def _refuse_early(arguments: list[str]) -> None:
    """Explain a bad command line in our words; Hydra's own message names neither the choices nor the file."""
    if not any(argument.startswith("-") for argument in arguments):
        to_settings(_compose(arguments).cfg)
