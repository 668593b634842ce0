"""A step with a NaN or infinite gradient leaves no trace in weights, optimiser, statistics or figures."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers.logger import DummyLogger
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.settings.schema import Settings
from also_selfsup.training.buffer_copies import BufferCopies
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.epoch_log import read_log
from also_selfsup.training.nan_guard import MOST_IN_A_ROW, NanError, NanGuard
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import Run
from also_selfsup.training.trainer import build_trainer, fit

SMALL = (
    "cfg.network.backbone=SPVCNN0p5",
    "cfg.manifold_points=100",
    "cfg.training.batch_size=1",
    "cfg.trainer.limit_val_batches=0",
    "cfg.training.max_epochs=3",
)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
    ),
]


class Spoiled(PretrainingModule):
    """Of some steps the activations, the statistics with them, are NaN; or these batches are left out."""

    def __init__(self, settings: Settings, bad: set[int], *, leave_out: bool = False) -> None:
        super().__init__(settings)
        self.bad, self.leave_out = bad, leave_out
        self.states: list[dict[str, Tensor]] = []

    def predict(self, batch: Batch, generator: torch.Generator, *, training: bool) -> dict[str, Any]:
        fields = super().predict(batch, generator, training=training)
        if training and self.global_step in self.bad and not self.leave_out:
            for name, buffer in self.named_buffers():
                if "running" in name:
                    buffer.data.fill_(math.nan)
            fields["occupancy_logits"] = fields["occupancy_logits"] * math.nan
        return fields

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        self.states.append({name: value.detach().clone() for name, value in self.state_dict().items()})
        return None


def run(settings: Settings, module: PretrainingModule, folder: Path, *more: Callback) -> Any:
    trainer = build_trainer(settings, folder, epochs=3, val_interval=1, monitor="val/iou")
    trainer.callbacks[0:0] = more
    fit(trainer, module, LidarDataModule(settings, labels=False), Run(folder, None))
    return trainer


@pytest.mark.parametrize("device", DEVICES)
def test_skipped_steps_leave_no_trace(
    tiny_settings: Callable[..., Settings], tmp_path: Path, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    on_device = f"cfg.trainer.accelerator={device.replace('cuda', 'gpu')}"
    settings = tiny_settings(*SMALL, on_device, "cfg.training.on_nan=skip")
    module = Spoiled(settings, {2})
    trainer = run(settings, module, tmp_path)
    before, after = module.states[2], module.states[3]
    # On a GPU statistics are restored a few steps late, and must be sound at the end.
    weights = [name for name, _ in module.named_parameters()]
    for name in before if device == "cpu" else weights:
        assert torch.equal(before[name], after[name]), name
    assert any(not torch.equal(after[name], module.states[4][name]) for name in weights)
    assert all(value.isfinite().all() for value in module.state_dict().values() if value.is_floating_point())
    assert len({int(state["step"]) for state in trainer.optimizers[0].state.values()}) == 1
    assert int(next(iter(trainer.optimizers[0].state.values()))["step"]) == trainer.global_step - 1 == 5
    assert all(math.isfinite(float(row["loss"])) for row in read_log(tmp_path / "logs_train.csv"))
    (told,) = [record.message for record in caplog.records if "gradient" in record.message]
    assert "seed 0, epoch 1, batch 0, rank 0, loss nan, of samples/LIDAR_TOP" in told


def test_a_run_that_stops_can_be_continued(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_settings(*SMALL)
    module = Spoiled(settings, {2})
    with pytest.raises(NanError, match=r"epoch 1, batch 0.*weights are sound.*on_nan=skip"):
        run(settings, module, tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3
    for name, value in module.states[2].items():
        assert torch.equal(state["state_dict"][name], value), name
    (kept,) = tmp_path.glob("nan_*.pt")
    found = torch.load(kept, weights_only=True)
    assert kept.name == "nan_epoch_001_batch_00000_rank_0.pt"
    assert (found["seed"], found["epoch"], found["batch"], found["rank"]) == (0, 1, 0, 0)
    (batch,) = found["batches"]
    assert len(batch["names"]) == 1 and batch["pos"].shape[0] > 100 and math.isnan(found["loss"])


def test_a_run_in_which_nothing_is_sound_ends(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_settings(*SMALL, "cfg.training.on_nan=skip", "cfg.training.max_epochs=9")
    module = Spoiled(settings, set(range(100)))
    trainer = build_trainer(settings, tmp_path, epochs=9, val_interval=1, monitor="val/iou")
    with pytest.raises(NanError, match=f"It is the {MOST_IN_A_ROW}th in a row"):
        fit(trainer, module, LidarDataModule(settings, labels=False), Run(tmp_path, None))
    assert trainer.global_step == MOST_IN_A_ROW


def test_a_late_look_restores_what_was_before(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_settings(*SMALL, "cfg.training.on_nan=skip")
    module = Spoiled(settings, {0})
    late = NanGuard(tmp_path, skip=True, seed=0, lag=1)
    late.on_train_start(None, module)  # type: ignore[arg-type]
    trainer = build_trainer(settings, tmp_path, epochs=3, val_interval=1, monitor="val/iou")
    trainer.callbacks = [late if isinstance(one, NanGuard) else one for one in trainer.callbacks]
    fit(trainer, module, LidarDataModule(settings, labels=False), Run(tmp_path, None))
    assert any(value.isnan().any() for value in module.states[1].values())
    assert not any(value.isnan().any() for value in module.states[2].values())
    weights = [name for name, _ in module.named_parameters()]
    assert all(torch.equal(module.states[0][name], module.states[1][name]) for name in weights)


def test_the_loss_is_shown_whole_where_several_batches_make_a_step(tmp_path: Path) -> None:
    shown: list[float] = []
    module: Any = SimpleNamespace(log=lambda name, value, **how: shown.append(float(value)))
    trainer: Any = SimpleNamespace(
        accumulate_grad_batches=4, is_last_batch=False, current_epoch=0, global_step=0
    )
    guard = NanGuard(tmp_path, skip=False, seed=0, lag=0)
    for batch_idx in range(8):  # Lightning has divided by four
        guard.on_train_batch_end(trainer, module, {"loss": torch.tensor(2.0)}, {"names": ["a"]}, batch_idx)
    assert shown == [8.0] * 5


class Figures(DummyLogger):
    """Keeps what is logged in steps."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[int, float] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        if "loss" in metrics:
            self.losses[step] = metrics["loss"]


def test_losses_are_logged_where_a_logger_takes_them(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = tiny_settings(*SMALL, "cfg.trainer.log_every_n_steps=3")
    module, figures, asked = PretrainingModule(settings), Figures(), []
    trainer = build_trainer(settings, tmp_path, epochs=3, val_interval=1, monitor="val/iou")
    trainer.loggers = [figures]
    losses: list[float] = []

    class Beside(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *batch: Any) -> None:
            losses.append(float(outputs["loss"]))

    trainer.callbacks.append(Beside())
    log = module.log
    module.log = lambda name, *rest, **how: (asked.append(name), log(name, *rest, **how))  # type: ignore
    fit(trainer, module, LidarDataModule(settings, labels=False), Run(tmp_path, None))
    assert len(losses) == 6 and figures.losses == {2: losses[2], 5: losses[5]}
    assert asked.count("loss") == 4, "behind steps 3 and 6, and where a bar is full: 2, 4 and 6"


def test_copies_of_buffers_go_back_to_any_of_the_last() -> None:
    buffers = [torch.zeros(3), torch.zeros((), dtype=torch.int64), torch.zeros(2)]
    copies = BufferCopies(buffers, copies=3)
    places = []
    for number in range(1, 6):
        for buffer in buffers:
            buffer.fill_(number)
        copies.keep()
        places.append(copies.newest)
    copies.restore(places[-2])
    assert all((buffer == 4).all() for buffer in buffers)
    for buffer in buffers:
        buffer.fill_(9)
    copies.restore(places[-1])
    assert all((buffer == 4).all() for buffer in buffers), "the copies made since are unsound too"
