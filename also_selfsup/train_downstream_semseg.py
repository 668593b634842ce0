"""Fine-tune semantic segmentation: `python train_downstream_semseg.py cfg=nuscenes [cfg.key=value]`.

Starts from cfg.downstream.checkpoint_dir / checkpoint_name, as convert_models.py wrote it, or from scratch.
"""

from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning import Callback
from rich.console import Console

from also_selfsup.checkpoints.next_command import convert_command
from also_selfsup.checkpoints.pretrained import load_backbone
from also_selfsup.reporting.run_report import run_report
from also_selfsup.settings.run import entry, resolve_path
from also_selfsup.settings.schema import Settings
from also_selfsup.training.closing import closing_line
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.runs import Run, open_run, unless_refused
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.trainer import build_trainer, fit


def finetune(settings: Settings, *, quiet: bool = False, more: Sequence[Callback] = ()) -> Run:
    """Fine-tune as the settings say, and answer where the results lie.

    Args:
        settings: Of the run.
        quiet: Leave the last line out.
        more: Callbacks, which come after the others.
    """
    stage = settings.downstream
    data = LidarDataModule(settings, labels=True)
    module = SegmentationModule(settings, data.train_set.class_names)
    if stage.checkpoint_dir is not None and stage.checkpoint_name is not None:
        path = resolve_path(stage.checkpoint_dir) / stage.checkpoint_name
        load_backbone(module.net, path)
    start = (
        f"{Path(stage.checkpoint_name).stem if stage.checkpoint_name else 'scratch'}_skip{stage.skip_ratio}"
    )
    run = open_run(settings, "Downstream", settings.name, start)
    with unless_refused(run):
        trainer = build_trainer(
            settings,
            run.folder,
            epochs=stage.max_epochs,
            val_interval=stage.val_interval or settings.val_interval,
            monitor="val/miou",
            more=[*run_report("train_downstream_semseg", data, run), *more],
        )
    fit(trainer, module, data, run)
    if trainer.is_global_zero and not quiet:
        next_command = convert_command(run.last, downstream=True)
        Console(markup=False).print(closing_line(trainer, run, next_command), soft_wrap=True)
    return run


@entry
def main(settings: Settings) -> None:
    """Entry of the command line."""
    finetune(settings)


if __name__ == "__main__":
    main()
