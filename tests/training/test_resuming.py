"""What a run cannot go on from is refused, and its folder stays as it was; Ctrl-C says how to go on."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.settings.files import load_settings
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.schema import Settings
from also_selfsup.train_downstream_semseg import finetune
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.preemption import WithinEpoch
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import Run, open_run

Compose = Callable[..., Settings]
SMALL = ("cfg.network.backbone=SPVCNN0p5", "cfg.trainer.limit_val_batches=0")
TWO, ONE = "cfg.training.max_epochs=2", "cfg.training.max_epochs=1"
AUTO = "cfg.resume=auto"


def test_what_does_not_fit_leaves_the_folder_as_it_was(tiny_settings: Compose) -> None:
    run = pretrain(tiny_settings(*SMALL, TWO))
    config = run.folder / "config.yaml"
    before = config.read_bytes()
    for words, said in (
        (
            (TWO, "cfg.network.latent_size=8"),
            r"last\.ckpt is of another .*latent_size=16 there, 8 here\. Go on",
        ),
        ((TWO, "cfg.inputs=[pos]"), r"cfg\.inputs=\['intensities'\] there, \['pos'\] here"),
        ((ONE,), "has had 2 epochs, and this run is to have 1: raise cfg.training.max_epochs"),
    ):
        with pytest.raises(SettingsError, match=said):
            pretrain(tiny_settings(*SMALL, AUTO, *words))
        assert config.read_bytes() == before
    with pytest.raises(
        CheckpointError, match="the checkpoint of a pre-training run has .* weights, this run"
    ):
        finetune(tiny_settings(*SMALL, f"cfg.resume={run.last}"))
    assert list(run.folder.parent.iterdir()) == [run.folder]
    run.last.write_bytes(run.last.read_bytes()[:9000])
    with pytest.raises(CheckpointError, match=r"last\.ckpt: damaged or incomplete"):
        pretrain(tiny_settings(*SMALL, AUTO, "cfg.training.max_epochs=3"))
    assert config.read_bytes() == before


def test_another_batch_size_within_an_epoch_is_refused_in_one_message(
    tiny_settings: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (*SMALL, ONE, "cfg.training.batch_size=1")
    with monkeypatch.context() as patch:
        patch.setattr(WithinEpoch, "_ends", stops_after_one_step)
        with pytest.raises(SystemExit):
            pretrain(tiny_settings(*small))
    [last] = Path(tiny_settings().save_dir).rglob("last.ckpt")
    before = last.read_bytes(), last.with_name("config.yaml").read_bytes()
    with pytest.raises(SettingsError, match="after batch 1 of 2 of epoch 0, .* size 1; now it is 2"):
        pretrain(tiny_settings(*small, AUTO, "cfg.training.batch_size=2"))
    assert (last.read_bytes(), last.with_name("config.yaml").read_bytes()) == before


def stops_after_one_step(self: WithinEpoch, trainer: Trainer, batch_idx: int) -> bool:
    return trainer.global_step == 1


def test_what_goes_on_tells_its_new_settings(tiny_settings: Compose) -> None:
    run = pretrain(tiny_settings(*SMALL, ONE))
    settings = tiny_settings(*SMALL, TWO, AUTO)
    assert pretrain(settings).folder == run.folder
    assert load_settings(run.folder / "config.yaml") == settings
    assert torch.load(run.last, weights_only=True)["epoch"] == 1


def test_ctrl_c_says_how_to_go_on(
    tiny_settings: Compose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    # Brackets in a command are no markup of the terminal.
    monkeypatch.setattr(
        "sys.argv", ["train_selfsupervised.py", "cfg=nuscenes", "cfg.inputs=[pos,intensities]"]
    )
    monkeypatch.setattr(PretrainingModule, "training_step", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as end:
            pretrain(tiny_settings(*SMALL, ONE))
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from the first one on
    assert end.value.code == 128 + signal.SIGINT
    told, command = capsys.readouterr().out.strip().splitlines()[-2:]
    assert told.startswith("Stopped by Ctrl-C: no checkpoint was written yet")
    expected = "train_selfsupervised.py cfg=nuscenes 'cfg.inputs=[pos,intensities]' cfg.resume=auto"
    assert command == f"Continue: python {expected}"


def test_a_strategy_that_does_not_exist_is_named(tiny_settings: Compose) -> None:
    with pytest.raises(SettingsError, match=r"cfg\.trainer\.strategy=abacus: not on this machine"):
        pretrain(tiny_settings(*SMALL, ONE, "cfg.trainer.strategy=abacus"))


@pytest.mark.parametrize("train", [pretrain, finetune])
def test_what_is_refused_before_it_begins_leaves_no_folder(
    tiny_settings: Compose, tmp_path: Path, train: Callable[[Settings], Run]
) -> None:
    settings = tiny_settings(*SMALL, "cfg.trainer.strategy=abacus", save_dir=tmp_path / "a" / "results")
    with pytest.raises(SettingsError, match="not on this machine"):
        train(settings)
    assert list(tmp_path.iterdir()) == []
    other = open_run(settings, "Pretraining", "nuscenes").folder, open_run(settings, "Downstream").folder
    with pytest.raises(SettingsError, match="not on this machine"):
        train(settings)
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {folder / "config.yaml" for folder in other}
