"""Pre-train by occupancy estimation: `python train_selfsupervised.py cfg=nuscenes [cfg.key=value]`."""

from rich.console import Console

from also_selfsup.checkpoints.next_command import convert_command
from also_selfsup.checkpoints.pretrained import load_start
from also_selfsup.reporting.run_report import run_report
from also_selfsup.settings.run import entry, resolve_path
from also_selfsup.settings.schema import Settings
from also_selfsup.training.closing import closing_line
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.probing import probe_callbacks
from also_selfsup.training.runs import Run, open_run, unless_refused
from also_selfsup.training.trainer import build_trainer, fit


def pretrain(settings: Settings) -> Run:
    """Pre-train as the settings say, and answer where the results lie."""
    data = LidarDataModule(settings, labels=False)
    module = PretrainingModule(settings)
    if settings.training.init_from is not None:
        load_start(module.backbone, resolve_path(settings.training.init_from))
    run = open_run(settings, "Pretraining", settings.name)
    with unless_refused(run):
        trainer = build_trainer(
            settings,
            run.folder,
            epochs=settings.training.max_epochs,
            val_interval=settings.val_interval,
            monitor="val/iou",
            more=[*probe_callbacks(settings, run.folder), *run_report("train_selfsupervised", data, run)],
        )
    fit(trainer, module, data, run)
    if trainer.is_global_zero:
        Console(markup=False).print(closing_line(trainer, run, convert_command(run.last)), soft_wrap=True)
    return run


@entry
def main(settings: Settings) -> None:
    """Entry of the command line."""
    pretrain(settings)


if __name__ == "__main__":
    main()
