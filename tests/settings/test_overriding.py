"""Changes on top of a run's settings, in the words of the scripts' command lines."""

from dataclasses import replace

import pytest

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.overriding import override, with_data_of
from also_selfsup.settings.run import load

WORDS = [
    "cfg.dataset_root=/data/a b",
    "cfg.network.voxel_size=[0.1,0.1,0.2]",
    "cfg.data.sensor_origin=null",
    "cfg.training.lr=1e-4",
    "cfg.inputs=[pos]",
    "cfg.name='a=b'",
]


def test_changes_are_those_of_a_composed_recipe() -> None:
    settings = load("nuscenes")
    assert override(settings, WORDS) == load("nuscenes", WORDS) != settings
    assert override(settings, []) == settings


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cfg.training.batchsize=5", "Did you mean batch_size"),
        ("cfg.training.batch_size=abc", "batch_size=abc: expected int"),
        ("cfg.training.lr=-1", "must be above"),
        ("cfg.seed", "cfg.seed: cannot be read"),
        ("seed=1", "expected one setting"),
        ("cfg.seed=1,2", "expected one setting"),
        ("cfg.name=a=b", "cannot be read"),
    ],
)
def test_refuses_what_is_no_setting(word: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        override(load("nuscenes"), [word])


def test_scans_of_another_recipe() -> None:
    run, other = load("nuscenes", ["cfg.network.latent_size=7", "cfg.seed=3"]), load("semantickitti")
    found = with_data_of(run, other)
    assert (found.dataset_name, found.dataset_root) == (other.dataset_name, other.dataset_root)
    assert (found.val_split, found.downstream.val_split) == (other.val_split, other.downstream.val_split)
    assert found.network == run.network and found.inputs == run.inputs and found.seed == 3
    assert replace(found, downstream=run.downstream).transforms == run.transforms
