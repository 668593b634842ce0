"""Before the first file is read: `cfg.key=value` on top of settings that a run already has."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.run import to_settings
from also_selfsup.settings.schema import Settings


def override(settings: Settings, words: Sequence[str]) -> Settings:
    """Settings with some changed, in the words of the scripts' command lines (`["cfg.seed=1"]`).

    Raises:
        SettingsError: A word cannot be read, or a key or value is wrong; the message says what is allowed.
    """
    node = OmegaConf.create({"cfg": asdict(settings)})
    for word in words:
        try:
            [parsed] = OverridesParser.create().parse_overrides([word])
        except OverrideParseException as error:
            raise SettingsError(f"{word}: cannot be read as cfg.KEY=VALUE.") from error
        if not word.startswith("cfg.") or parsed.is_sweep_override():
            raise SettingsError(f"{word}: expected one setting, as in cfg.dataset_root=data/nuscenes.")
        OmegaConf.update(node, parsed.key_or_group, parsed.value(), force_add=True)
    return to_settings(node.cfg)


def with_data_of(settings: Settings, recipe: Settings) -> Settings:
    """Settings of a run with the scans of another recipe: data set, root, splits, how files are read."""
    stage = recipe.downstream
    return replace(
        settings,
        dataset_name=recipe.dataset_name,
        dataset_root=recipe.dataset_root,
        train_split=recipe.train_split,
        val_split=recipe.val_split,
        data=recipe.data,
        downstream=replace(settings.downstream, train_split=stage.train_split, val_split=stage.val_split),
    )
