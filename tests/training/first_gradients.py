"""Run by test_processes.py in one or two processes: save the gradients of a fine-tuning's first step."""

import json
import sys
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from also_selfsup.settings.run import load
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.trainer import build_trainer


class SaveGradients(Callback):
    """Write the gradients as the optimiser would see them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fix batch-norm: its statistics are each process's own, which is another matter."""
        for module in pl_module.modules():
            if "BatchNorm" in type(module).__name__:
                module.eval()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: object
    ) -> None:
        """Save, once."""
        if trainer.is_global_zero:
            found = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
            torch.save(found, self.path)


def main() -> None:
    """Train one step."""
    out, overrides = Path(sys.argv[1]), json.loads(sys.argv[2])
    settings = load("nuscenes", overrides)
    data = LidarDataModule(settings, labels=True)
    module = SegmentationModule(settings, data.train_set.class_names)
    trainer = build_trainer(settings, out.parent, epochs=1, val_interval=1, monitor="val/miou")
    trainer.callbacks.append(SaveGradients(out))
    trainer.fit(module, datamodule=data)


if __name__ == "__main__":
    main()
