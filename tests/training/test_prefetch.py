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
from also_selfsup.training.prefetch import PrefetchingLoader, ahead, record_stream
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.task import TaskModule
from also_selfsup.transforms.pending import Steps

MakeSettings = Callable[..., Settings]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def work(item: int, *, log: list[str], fails: int = -1, at: int = 0) -> Steps[int]:
    for step in range(3):
        log.append(f"{item}.{step}")
        if item == fails and step == at:
            raise KeyError(item)
        yield
    log.append(f"{item} done")
    return 10 * item


def test_work_on_the_next_items_goes_on_in_every_turn() -> None:
    log: list[str] = []
    results = ahead(iter(range(9)), partial(work, log=log))
    assert next(results) == 0
    # In the first turn nothing could be ahead.
    assert log == ["0.0", "0.1", "0.2", "0 done", "1.0", "2.0", "3.0", "4.0"]
    assert [next(results) for _ in range(3)] == [10, 20, 30]
    log.clear()
    assert next(results) == 40
    # Ready before it was due; what has waited longest comes first.
    assert log == ["5 done", "6.2", "7.1", "8.0"]
    assert list(results) == [50, 60, 70, 80]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_short_epochs(count: int) -> None:
    results = ahead(iter(range(count)), partial(work, log=[]))
    assert list(results) == [10 * n for n in range(count)]


@pytest.mark.parametrize("fails", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("at", [-1, 0, 2])
def test_an_error_comes_when_its_batch_is_due(fails: int, at: int) -> None:
    def source() -> Iterator[int]:
        for item in range(8):
            if item == fails and at < 0:
                raise KeyError(item)
            yield item

    results = ahead(source(), partial(work, log=[], fails=fails if at >= 0 else -1, at=at))
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

    def further(batch: Batch, generator: torch.Generator) -> Steps[Batch]:
        seen.append(len(batch["x"]))
        assert not torch.is_grad_enabled()
        yield
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
