"""Before the first file is read: what a comparison over label fractions runs, from words such as `seeds=3`.

Beside the settings (`cfg.…`) that all its runs share: which fractions, starts, seeds and heads there are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.names import choose
from also_selfsup.settings.option import option

SCRATCH = "scratch"
HEADS = {
    "finetune": "fine-tuning of all weights",
    "linear": "linear probing: the classifier alone learns",
    "mlp": "non-linear probing: a hidden layer and the classifier learn",
}
# Epochs of the published runs by label fraction (CVPR 2023, section 4).
RECIPE_EPOCHS = {0.001: 1000, 0.01: 500, 0.1: 100, 0.5: 50, 1.0: 30}


@dataclass(frozen=True)
class Study:
    """What is run: every head from every start at every fraction with every seed."""

    fractions: list[float] = option(
        [0.001, 0.01, 0.1, 0.5, 1.0], "label fractions; each is one n-th, as cfg.downstream.skip_ratio=n"
    )
    seeds: Any = option(3, "how many seeds, 1 to n; or a list of them")
    init: list[str] = option(
        [SCRATCH], "starts: scratch, or files of weights as convert_models.py writes them"
    )
    heads: list[str] = option(["finetune"], "what learns: finetune, linear (probe), mlp (probe)")
    epochs: dict[float, int] = option(
        dict, "epochs by fraction; the others have cfg.downstream.max_epochs where given, else the recipe's"
    )
    parallel: int = option(1, "runs beside one another; they share the GPUs in turn", low=1)
    minutes: float | None = option(None, "stop cleanly after so long; the same command goes on", unit="min")
    out: str | None = option(None, "folder of all results; null: save_dir/LabelEfficiency/<cfg.name>")

    @property
    def seed_list(self) -> list[int]:
        """The seeds."""
        return list(range(1, self.seeds + 1)) if isinstance(self.seeds, int) else list(self.seeds)

    def label(self, start: str) -> str:
        """Short name of a start: that of its file, where it is the only one of that name."""
        counts = Counter(Path(one).stem for one in self.init)
        return start if start == SCRATCH or counts[Path(start).stem] > 1 else Path(start).stem


def read_study(words: Sequence[str]) -> tuple[Study, list[str]]:
    """Tell the study's words of a command line from those of the settings (`cfg=…`, `cfg.key=…`).

    Raises:
        SettingsError: A word is no KEY=VALUE, its key is unknown, or its value is not what the key takes.
    """
    own = [word for word in words if not word.startswith(("cfg=", "cfg."))]
    known = {item.name: item for item in fields(Study)}
    values: dict[str, Any] = {}
    for word in own:
        key, _, _ = word.partition("=")
        choose(known, key, "word of this command (besides cfg=… and cfg.…)")
        try:
            [override] = OverridesParser.create().parse_overrides([word])
            values[key] = _with_float_keys(override.value())
            OmegaConf.merge(OmegaConf.structured(Study), {key: values[key]})
        except (OverrideParseException, OmegaConfBaseException, TypeError, ValueError) as error:
            raise SettingsError(
                f"{word}: expected {known[key].metadata['doc']}. Braces and blanks stand in the shell's "
                "quotes: 'epochs={0.1:100,1:30}'."
            ) from error
    schema = OmegaConf.structured(Study)
    OmegaConf.set_readonly(schema, None)
    study = cast(Study, OmegaConf.to_object(OmegaConf.merge(schema, values)))
    _check(study)
    return study, [word for word in words if word not in own]


def skip_ratio(fraction: float) -> int:
    """The n of a fraction that is one n-th.

    Raises:
        SettingsError: It is none.
    """
    ratio = round(1 / fraction) if 0 < fraction <= 1 else 0
    if not ratio or abs(ratio * fraction - 1) > 1e-3:
        raise SettingsError(
            f"fractions={fraction}: must be one n-th of the labels, such as 0.5, 0.1 or 0.001."
        )
    return ratio


def epochs_of(study: Study, fraction: float, *, given: int | None) -> int:
    """Epochs of the fine-tunings at a fraction.

    Args:
        study: Its `epochs` come first.
        fraction: Of the labels.
        given: cfg.downstream.max_epochs, where the command line has it; comes second, the recipe's last.

    Raises:
        SettingsError: None of them has this fraction.
    """
    for table in (study.epochs, {fraction: given} if given else {}, RECIPE_EPOCHS):
        for known, epochs in table.items():
            if skip_ratio(known) == skip_ratio(fraction) and epochs:
                return epochs
    raise SettingsError(
        f"fractions={fraction}: the recipe has no epochs for it; give epochs={{{fraction}:100}}, or "
        "cfg.downstream.max_epochs for all fractions."
    )


def _with_float_keys(value: Any) -> Any:
    """A dictionary whose keys are all floats, as the schema has them: 1 is written where 1.0 is meant."""
    return {float(key): entry for key, entry in value.items()} if isinstance(value, dict) else value


def _check(study: Study) -> None:
    for head in study.heads:
        choose(HEADS, head, "entry of heads")
    for fraction in (*study.fractions, *study.epochs):
        skip_ratio(fraction)
    seeds = study.seed_list if isinstance(study.seeds, int | list) else []
    if isinstance(study.seeds, bool) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        raise SettingsError(f"seeds={study.seeds}: a count above 0, or a list such as [1,2,3].")
    low = {
        "parallel": study.parallel,
        "minutes": study.minutes,
        **{f"epochs at {f}": e for f, e in study.epochs.items()},
    }
    for name, value in low.items():
        if value is not None and value <= 0:
            raise SettingsError(f"{name}={value}: must be above 0.")
    lists: dict[str, list[Any]] = {"fractions": study.fractions, "init": study.init, "heads": study.heads}
    for name, entries in {**lists, "seeds": seeds}.items():
        if not entries or len(set(entries)) < len(entries):
            raise SettingsError(f"{name}={entries}: give at least one, and each once.")
