"""The garbage collector spares what lives as long as a run, and is left as it was found."""

import gc
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import pytest

from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.collector import NEW_OBJECTS, SparingCollector
from also_selfsup.training.pretraining import PretrainingModule

UNUSED: Any = None  # in place of trainer and module


class Ring:
    """Holds itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def collector() -> Iterator[SparingCollector]:
    made = SparingCollector()
    yield made
    made.on_train_end(UNUSED, UNUSED)


def test_objects_of_before_are_set_aside_and_those_of_an_epoch_collected(
    collector: SparingCollector,
) -> None:
    thresholds, old = gc.get_threshold(), Ring()
    collector.on_train_start(UNUSED, UNUSED)
    assert gc.get_freeze_count() > 10_000 and gc.get_threshold()[0] == NEW_OBJECTS
    seen = ref(old), ref(Ring())
    del old
    collector.on_train_epoch_start(UNUSED, UNUSED)
    assert seen[0]() is not None and seen[1]() is None
    collector.on_train_end(UNUSED, UNUSED)
    assert gc.get_freeze_count() == 0 and gc.get_threshold() == thresholds
    gc.collect()
    assert seen[0]() is None


def test_nothing_is_given_back_that_was_not_taken(collector: SparingCollector) -> None:
    thresholds = gc.get_threshold()
    collector.on_exception(UNUSED, UNUSED, KeyboardInterrupt())  # before the first step
    assert gc.get_threshold() == thresholds


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_leaves_the_collector_as_it_was(
    tiny_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    thresholds, frozen = gc.get_threshold(), []

    def note(module: PretrainingModule) -> None:
        frozen.append(gc.get_freeze_count())
        if fails:
            raise OSError("no more")

    monkeypatch.setattr(PretrainingModule, "on_before_zero_grad", lambda module, optimizer: note(module))
    settings = tiny_settings("cfg.training.max_epochs=1")
    if fails:
        with pytest.raises(OSError, match="no more"):
            pretrain(settings)
    else:
        pretrain(settings)
    assert frozen and min(frozen) > 10_000
    assert gc.get_freeze_count() == 0 and gc.get_threshold() == thresholds
