"""Batches prepared ahead: the same as in turn, begun at the right time, errors when they are due."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from also_selfsup.data.packing import collate_packed
from also_selfsup.data.scan import Batch
from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training import datamodule
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.prefetch import PrefetchingLoader, record_stream, two_ahead
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.task import TaskModule

MakeSettings = Callable[..., Settings]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def begin(item: int, *, log: list[str], fails: int = -1) -> int:
    log.append(f"begin {item}")
    if item == fails:
        raise KeyError(item)
    return item


def finish(item: int, *, log: list[str], fails: int = -1) -> int:
    log.append(f"finish {item}")
    if item == fails:
        raise KeyError(item)
    return 10 * item


def test_a_batch_is_begun_two_steps_ahead() -> None:
    log: list[str] = []
    results = two_ahead(iter(range(4)), partial(begin, log=log), partial(finish, log=log))
    for number in range(4):
        assert next(results) == 10 * number
        begun, finished = range(min(number + 3, 4)), range(min(number + 2, 4))
        assert set(log) == {f"begin {n}" for n in begun} | {f"finish {n}" for n in finished}
    assert list(results) == []
    # What the host may have to wait for comes before what it only launches.
    assert log.index("finish 1") < log.index("begin 2")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_epochs(count: int) -> None:
    log: list[str] = []
    results = two_ahead(iter(range(count)), partial(begin, log=log), partial(finish, log=log))
    assert list(results) == [10 * n for n in range(count)]


@pytest.mark.parametrize("fails", [0, 1, 2, 3])
@pytest.mark.parametrize("where", ["source", "begin", "finish"])
def test_an_error_comes_when_its_batch_is_due(fails: int, where: str) -> None:
    def source() -> Iterator[int]:
        for item in range(5):
            if where == "source" and item == fails:
                raise KeyError(item)
            yield item

    log: list[str] = []
    begin_fails = fails if where == "begin" else -1
    finish_fails = fails if where == "finish" else -1
    results = two_ahead(
        source(),
        partial(begin, log=log, fails=begin_fails),
        partial(finish, log=log, fails=finish_fails),
    )
    assert [next(results) for _ in range(fails)] == [10 * n for n in range(fails)]
    with pytest.raises(KeyError, match=str(fails)):
        next(results)


def test_memory_is_kept_for_the_step_wherever_it_is() -> None:
    class Table:
        streams: list[Any] = []

        def record_stream(self, stream: Any) -> None:
            self.streams.append(stream)

    stream: Any = object()
    record_stream([torch.zeros(1), "name", {"table": [Table()]}, (Table(),)], stream)
    assert Table.streams == [stream, stream]


def modules(settings: Settings) -> list[TaskModule]:
    return [PretrainingModule(settings), SegmentationModule(settings, ["ignore", "road", "tree"])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("number", [0, 1])
def test_batches_are_those_of_the_step(tiny_settings: MakeSettings, device: str, number: int) -> None:
    settings = tiny_settings("cfg.training.batch_size=1")
    module = modules(settings)[number].to(device)
    data = LidarDataModule(settings, labels=number == 1)
    seen: list[int] = []

    def further(batch: Batch, generator: torch.Generator) -> Batch:
        seen.append(len(batch["x"]))
        return {**batch, "doubled": 2 * batch["x"]}

    loader: DataLoader[Any] = DataLoader(data.train_set, batch_size=1, collate_fn=collate_packed)
    prefetching = PrefetchingLoader(
        loader,
        device=torch.device(device),
        generator=partial(module.generator, training=True),
        begin=partial(module.transforms.begin, training=True),
        further=[further],
    )
    assert len(prefetching) == len(loader) and prefetching.sampler is loader.sampler
    found = list(prefetching)
    assert len(found) == len(loader) == len(seen) > 1
    for step, (batch, packed) in enumerate(zip(found, loader, strict=True)):
        generator = module.generator(step, training=True)
        expected = module.transforms(packed.unpack(torch.device(device)), generator, training=True)
        for name, values in expected.items():
            if isinstance(values, torch.Tensor):
                assert torch.equal(batch[name], values), name
        assert torch.equal(batch["doubled"], 2 * batch["x"])
        assert torch.equal(batch["generator"].get_state(), generator.get_state())


def test_a_step_takes_a_prepared_batch_as_it_is(tiny_settings: MakeSettings) -> None:
    settings = tiny_settings()
    batch = next(iter(LidarDataModule(settings, labels=False).train_dataloader()))
    module = PretrainingModule(settings)
    generator = module.generator(0, training=True)
    prepared = {**module.transforms(batch, generator, training=True), "generator": generator}
    data = LidarDataModule(settings, labels=False)
    assert data.transfer_batch_to_device(prepared, torch.device("cpu"), 0) is prepared
    early = module.predict(prepared, generator, training=True)["predictions"]
    late = module.predict(batch, module.generator(0, training=True), training=True)["predictions"]
    assert torch.equal(early, late)


def test_a_run_ahead_is_the_run_in_turn(
    tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, seen = [], []
    for name in ("in turn", "ahead"):
        monkeypatch.setattr(datamodule, "prepares_ahead", lambda _, name=name: name == "ahead")
        # A worker, two epochs in different orders, validation between them.
        settings = tiny_settings(
            "cfg.training.max_epochs=2",
            "cfg.training.batch_size=1",
            "cfg.threads=1",
            save_dir=tmp_path / name,
        )
        run = pretrain(settings)
        weights.append(torch.load(run.last, weights_only=True)["state_dict"])
        seen.append(
            [(run.folder / f"logs_{stage}.csv").read_text().count("\n") for stage in ("train", "val")]
        )
    assert seen[0] == seen[1]
    assert all(torch.equal(weights[0][name], values) for name, values in weights[1].items())
