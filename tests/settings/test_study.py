"""The words of a comparison over label fractions: what they become, and what is wrong with them."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.names import UserError
from also_selfsup.settings.run import load
from also_selfsup.settings.study import HEADS, RECIPE_EPOCHS, Study, epochs_of, read_study, skip_ratio


def test_words_are_told_from_settings() -> None:
    words = [
        "cfg=nuscenes",
        "fractions=[0.001,1]",
        "cfg.seed=3",
        "seeds=2",
        "init=[scratch,a/b.ckpt,'c=d.ckpt']",
    ]
    study, rest = read_study([*words, "epochs={1:7,0.001:9}", "heads=[linear]", "parallel=4", "out=x"])
    assert rest == ["cfg=nuscenes", "cfg.seed=3"]
    assert study.fractions == [0.001, 1.0] and study.seed_list == [1, 2] and study.parallel == 4
    assert study.init == ["scratch", "a/b.ckpt", "c=d.ckpt"] and study.out == "x"
    assert study.epochs == {1.0: 7, 0.001: 9} and study.heads == ["linear"]
    assert read_study(["seeds=[5,3]"])[0].seed_list == [5, 3]
    assert read_study([])[0] == Study()


@pytest.mark.parametrize(
    ("word", "said"),
    {
        "fraction=[1]": "Unknown word of this command .* 'fraction'.* Did you mean 'fractions'?",
        "seeds=0": "seeds=0: a count above 0",
        "seeds=[1,1]": "seeds=[1, 1]: give at least one, and each once",
        "seeds=1.5": "seeds=1.5: a count above 0",
        "fractions=[0.3]": "fractions=0.3: must be one n-th",
        "fractions=[2]": "fractions=2.0: must be one n-th",
        "fractions=[]": "fractions=[]: give at least one",
        "fractions=some": "fractions=some: expected label fractions",
        "heads=[deep]": "Unknown entry of heads 'deep': choose one of finetune, linear, mlp",
        "epochs={0.3:5}": "fractions=0.3: must be one n-th",
        "epochs={a:5}": "epochs={a:5}: expected epochs by fraction",
        "epochs={0.1:0}": "epochs at 0.1=0: must be above 0",
        "parallel=0": "parallel=0: must be above 0",
        "minutes=-1": "minutes=-1.0: must be above 0",
        "seeds": "seeds: expected how many seeds",
    }.items(),
)
def test_what_is_wrong_is_said(word: str, said: str) -> None:
    pattern = re.escape(said).replace(r"\.\*", ".*").replace(r"\?", "[?]")
    with pytest.raises(UserError, match=pattern):
        read_study([word])


def test_fractions_are_skip_ratios() -> None:
    assert [skip_ratio(f) for f in (0.001, 0.01, 0.1, 0.5, 1, 0.333)] == [1000, 100, 10, 2, 1, 3]


def test_epochs_of_a_fraction() -> None:
    study = read_study(["epochs={0.1:7}"])[0]
    assert [epochs_of(study, f, given=None) for f in (0.001, 0.1, 1.0)] == [1000, 7, 30]
    assert [epochs_of(study, f, given=4) for f in (0.001, 0.1, 0.25)] == [4, 7, 4]
    with pytest.raises(SettingsError, match=r"fractions=0\.25: the recipe has no epochs for it"):
        epochs_of(study, 0.25, given=None)
    assert RECIPE_EPOCHS == {0.001: 1000, 0.01: 500, 0.1: 100, 0.5: 50, 1.0: 30}


def test_names_of_starts() -> None:
    study = read_study(["init=[scratch,a/w.ckpt,b/w.ckpt,c/other.ckpt]"])[0]
    assert [study.label(start) for start in study.init] == ["scratch", "a/w.ckpt", "b/w.ckpt", "other"]


def test_words_and_commands_are_those_of_the_page(root: Path) -> None:
    text = (root / "doc" / "label_efficiency.md").read_text("utf-8")
    found = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", text, re.MULTILINE))
    assert list(found) == [item.name for item in fields(Study)]
    assert read_study([f"{key}={value}" for key, value in found.items()])[0] == Study()
    assert all(f"`{head}`" in text for head in HEADS)
    numbers = ", ".join(map(str, list(RECIPE_EPOCHS.values())[:-1]))
    assert f"{numbers} and {RECIPE_EPOCHS[1.0]}" in " ".join(text.split())
    readme = (root / "README.md").read_text("utf-8")
    commands = re.findall(
        r"^python also_selfsup/label_efficiency\.py (.+?)(?<!\\)$", readme + text, re.M | re.S
    )
    assert len(commands) == 4
    for command in commands:
        study, settings = read_study(shlex.split(command.replace("\\\n", " ")))
        load(settings[0].removeprefix("cfg="), settings[1:])
        assert settings[0].startswith("cfg=") and len(study.init) == 2
