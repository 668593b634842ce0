"""Checkpoints of a tiny network that went through Lightning, as training writes them."""

import runpy
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader


class _Tiny(pl.LightningModule):
    """Pre-training's or fine-tuning's attribute names around two linear layers."""

    def __init__(self, *, downstream: bool) -> None:
        super().__init__()
        if downstream:
            self.net = _network(classes=2)
        else:
            self.backbone, self.decoder = _network(classes=8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) if hasattr(self, "net") else self.decoder(self.backbone(x))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("score", self(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


class _SaveOften(Callback):
    """Saves at each kind of moment at which training may."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step % 3 == 2:
            trainer.save_checkpoint(self.folder / f"within_{trainer.current_epoch}.ckpt")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validated_{trainer.current_epoch}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"epoch_{trainer.current_epoch}.ckpt")


def _network(*, classes: int) -> nn.Module:
    layers = {"stem": nn.Linear(3, 8), "norm": nn.BatchNorm1d(8), "classifier": nn.Linear(8, classes)}
    return nn.Sequential(OrderedDict(layers))


def _train(folder: Path, *, downstream: bool) -> Path:
    torch.manual_seed(0)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[_SaveOften(folder)],
    )
    loader = DataLoader(torch.randn(12, 3), batch_size=4)
    trainer.fit(_Tiny(downstream=downstream), loader, loader)
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder


@pytest.fixture(scope="session")
def pretraining_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with checkpoints of two epochs of pre-training, three steps each."""
    return _train(tmp_path_factory.mktemp("pretraining"), downstream=False)


@pytest.fixture(scope="session")
def downstream_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with checkpoints of two epochs of fine-tuning."""
    return _train(tmp_path_factory.mktemp("downstream"), downstream=True)


@pytest.fixture
def network() -> nn.Module:
    """A network of the same layers, with five classes."""
    return _network(classes=5)


@pytest.fixture(scope="session")
def fake() -> SimpleNamespace:
    """The functions of second_checkpoints.py, which make weights and checkpoints of SECOND."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("second_checkpoints.py"))))
