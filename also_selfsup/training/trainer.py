"""Around the modules: Lightning's Trainer with precision, loggers, checkpoints and callbacks of a run."""

import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import LearningRateMonitor, RichProgressBar, TQDMProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.utilities.exceptions import SIGTERMException
from rich.console import Console

from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.schema import Settings
from also_selfsup.training.callbacks import (
    AtomicCheckpointIO,
    SettingsFile,
    SkippedScans,
    Throughput,
    TimeLimit,
    checkpoint_callbacks,
)
from also_selfsup.training.closing import interrupted_line, preempted_line
from also_selfsup.training.collector import SparingCollector
from also_selfsup.training.epoch_log import EpochLog
from also_selfsup.training.faults import explain
from also_selfsup.training.nan_guard import NanGuard
from also_selfsup.training.precision import resolve_precision
from also_selfsup.training.preemption import Preempted, WithinEpoch
from also_selfsup.training.resuming import refuse_unresumable
from also_selfsup.training.runs import LAST, Run


class _Unprofiled(PassThroughProfiler):
    """Times nothing: Lightning's own makes a generator for each hook of each callback, 75 a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """A context that does nothing."""
        return self._nothing


def build_trainer(
    settings: Settings,
    folder: Path,
    *,
    epochs: int,
    val_interval: int,
    monitor: str,
    more: Sequence[Callback] = (),
) -> Trainer:
    """The Trainer of a run.

    Args:
        settings: Of the run.
        folder: Of its results.
        epochs: Most epochs.
        val_interval: Epochs between validations.
        monitor: Score by which the best checkpoint is chosen.
        more: Callbacks of this kind of run, which come after the others.
    """
    options = settings.trainer
    loggers = _loggers(settings, folder)
    callbacks = [*_callbacks(settings, folder, monitor=monitor, logs=bool(loggers)), *more]
    trainer = _trainer(
        settings,
        default_root_dir=folder,
        accelerator=options.accelerator,
        devices=settings.num_device,
        num_nodes=options.num_nodes,
        strategy=options.strategy or ("ddp" if settings.num_device * options.num_nodes > 1 else "auto"),
        precision=resolve_precision(settings.precision, options.accelerator),
        plugins=[AtomicCheckpointIO()],
        profiler=_Unprofiled(),
        logger=loggers,
        callbacks=callbacks,
        max_epochs=epochs,
        max_steps=options.max_steps,
        check_val_every_n_epoch=val_interval,
        limit_train_batches=options.limit_train_batches,
        limit_val_batches=options.limit_val_batches,
        accumulate_grad_batches=options.accumulate_grad_batches,
        gradient_clip_val=options.gradient_clip_val,
        sync_batchnorm=options.sync_batchnorm,
        log_every_n_steps=options.log_every_n_steps,
        deterministic=options.deterministic,
        detect_anomaly=options.detect_anomaly,
        use_distributed_sampler=False,
        enable_progress_bar=settings.logging.progress_bar,
        enable_model_summary=False,
    )
    return _asking_less(trainer)


def fit(trainer: Trainer, module: LightningModule, data: LightningDataModule, run: Run) -> None:
    """Train, from the run's checkpoint if it continues one; nothing in that file is executed.

    Raises:
        SystemExit: After SIGTERM and a checkpoint, or Ctrl-C, with the status of a process that it ended.
        UserError: The disk is full, memory ran out, a scan is gone, a loss is NaN, ...; or the checkpoint is
            damaged, or of another network.
    """
    if run.checkpoint is not None:
        refuse_unresumable(run.checkpoint, module, epochs=trainer.max_epochs or sys.maxsize)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=run.checkpoint, weights_only=True)
    except Preempted as stop:
        if not trainer.is_global_zero:  # its status must not make the first process's launcher end that one
            sys.exit(0)
        Console(markup=False).print(preempted_line(stop, run), soft_wrap=True)
        sys.exit(128 + signal.SIGTERM)
    except SystemExit:  # Lightning's, which ends the process itself after Ctrl-C, and says nothing
        if trainer.interrupted and trainer.is_global_zero:
            Console(markup=False).print(interrupted_line(run), soft_wrap=True)
            sys.exit(128 + signal.SIGINT)
        raise
    except SIGTERMException:  # Lightning's, before the first step
        Console().print("Stopped by SIGTERM before the first step: nothing was lost.")
        sys.exit(128 + signal.SIGTERM)
    except Exception as error:
        if (explained := explain(error, module, folder=run.folder)) is None:
            raise
        raise explained from error


def _trainer(settings: Settings, **options: Any) -> Trainer:
    """Lightning's Trainer.

    Raises:
        SettingsError: The machine has no such device, or Lightning no such strategy.
    """
    try:
        return Trainer(**options)
    except (MisconfigurationException, ValueError) as error:
        asked = settings.trainer
        raise SettingsError(
            f"cfg.trainer.accelerator={asked.accelerator}, cfg.num_device={settings.num_device}, "
            f"cfg.trainer.strategy={asked.strategy or 'null'}: not on this machine "
            f"({str(error).splitlines()[0]}) The defaults, auto, 1 and null, run everywhere."
        ) from error


def _asking_less(trainer: Trainer) -> Trainer:
    """The trainer, whose processes no longer ask one another about SIGTERM before every step.

    Each time they would wait for the device; `WithinEpoch` has them agree every few steps.
    """
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    return trainer


def _callbacks(settings: Settings, folder: Path, *, monitor: str, logs: bool) -> list[Callback]:
    """What stands beside the loop in every run; `logs` says whether there is a logger to write to."""
    guard = NanGuard(
        folder,
        skip=settings.training.on_nan == "skip",
        seed=settings.seed,
        logged_every=settings.trainer.log_every_n_steps,
    )
    found: list[Callback] = [
        SettingsFile(settings, folder),
        SparingCollector(),
        Throughput(),
        SkippedScans(),
        EpochLog(folder),
        *checkpoint_callbacks(folder, monitor=monitor, interval=settings.checkpoint_interval),
        guard,
        WithinEpoch(
            folder / LAST,
            steps=settings.checkpoint_steps,
            minutes=settings.checkpoint_minutes,
            settle=guard.settle,
            interval=settings.checkpoint_interval,
        ),
    ]
    if settings.max_minutes is not None:
        found.append(TimeLimit(settings.max_minutes))
    if logs:
        found.append(LearningRateMonitor(logging_interval="epoch"))
    if settings.logging.progress_bar:
        found.append(_progress_bar())
    return found


class EventFiles(TensorBoardLogger):
    """Lightning's logger without its hparams.yaml, always empty: config.yaml has the settings."""

    def save(self) -> None:
        """Write what is logged so far."""
        super(TensorBoardLogger, self).save()


def _loggers(settings: Settings, folder: Path) -> list[Logger]:
    found: list[Logger] = []
    if settings.logging.tensorboard:
        found.append(EventFiles(folder, name="", version=""))
    if settings.logging.wandb:
        try:
            from pytorch_lightning.loggers import WandbLogger

            found.append(
                WandbLogger(project=settings.logging.wandb_project, name=settings.name, save_dir=folder)
            )
        except ModuleNotFoundError as error:
            raise SettingsError(
                "cfg.logging.wandb=true: wandb is not installed; pip install 'also-selfsup[logging]'."
            ) from error
    return found


def _progress_bar() -> Callback:
    """A bar with rate and time left: rich in a terminal, plain lines in a file."""
    return RichProgressBar(refresh_rate=10) if sys.stdout.isatty() else TQDMProgressBar(refresh_rate=20)
