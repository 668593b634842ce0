"""The two tasks, their losses written again, and what they leave alone."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.data.scan import Batch
from also_selfsup.networks import activation_checkpointing
from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.nan_guard import NanError
from also_selfsup.training.precision import arithmetic, resolve_precision
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.trainer import build_trainer
from also_selfsup.transforms.randomness import step_generator


def first_batch(settings: Settings, *, labels: bool) -> Batch:
    return next(iter(LidarDataModule(settings, labels=labels).train_dataloader()))


def seeded() -> torch.Generator:
    return step_generator(seed=0, epoch=1, rank=0, step=0, device="cpu")


def test_pretraining_loss_is_the_papers(tiny_settings: Callable[..., Settings]) -> None:
    settings = tiny_settings("cfg.loss.intensity_lambda=0.5")
    module, batch = PretrainingModule(settings), first_batch(settings, labels=False)
    fields = module.predict(batch, seeded(), training=True)
    target = fields["occupancies"][fields["pair_query"]].float()
    hit = fields["intensities_non_manifold"][fields["pair_query"], 0]
    bce = functional.binary_cross_entropy(fields["predictions"][:, 0].sigmoid(), target)
    l1 = (fields["predictions"][:, 1] - hit)[hit >= 0].abs().mean()
    losses = module.losses(fields)
    assert len(target) > 300
    torch.testing.assert_close(losses["total"], bce + 0.5 * l1)


def test_no_label_is_opened_in_pretraining(
    tiny_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings()
    module = LidarDataModule(settings, labels=False)
    for dataset in (module.train_set, module.val_set):
        monkeypatch.setattr(dataset, "label_file", lambda index: pytest.fail("a label file was asked for"))
    assert "y" not in next(iter(module.train_dataloader()))


def test_pre_training_starts_from_given_weights(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    other = PretrainingModule(tiny_settings("cfg.seed=5", "cfg.network.latent_size=8"))
    torch.save({"state_dict": other.state_dict()}, tmp_path / "start.ckpt")
    still = ("cfg.training.lr=1e-30", "cfg.training.weight_decay=0", "cfg.trainer.max_steps=1")
    run = pretrain(tiny_settings(f"cfg.training.init_from={tmp_path}/start.ckpt", *still))
    found = torch.load(run.last, weights_only=True)["state_dict"]
    # The step changes next to nothing; the last layer has another size, and the decoder is not taken along.
    names = [name for name, _ in other.backbone.named_parameters() if not name.startswith("classifier")]
    assert len(names) > 100
    for name in names:
        torch.testing.assert_close(
            found[f"backbone.{name}"], other.backbone.get_parameter(name).detach(), rtol=0, atol=1e-20
        )
    assert found["backbone.classifier.0.weight"].shape[0] == 16
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: no such file"):
        pretrain(tiny_settings("cfg.training.init_from=nowhere.ckpt"))


def test_same_seed_same_weights_and_step(tiny_settings: Callable[..., Settings]) -> None:
    losses, weights = [], []
    for seed in (1, 1, 2):
        settings = tiny_settings(f"cfg.seed={seed}")
        module = PretrainingModule(settings)
        weights.append(module.decoder.fc_in.weight.detach().clone())
        fields = module.predict(first_batch(settings, labels=False), seeded(), training=True)
        losses.append(module.losses(fields)["total"].item())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("backbone", ["MinkUNet18", "SPVCNN"])
def test_checkpointed_activations_train_the_same_weights(
    tiny_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str
) -> None:
    again: list[object] = []
    compute = activation_checkpointing._compute_again
    monkeypatch.setattr(
        activation_checkpointing, "_compute_again", lambda *args: again.append(args) or compute(*args)
    )
    states, counts = [], []
    for word in ("false", "true"):
        more = (f"cfg.network.backbone={backbone}", "cfg.trainer.max_steps=2")
        settings = tiny_settings(
            *more, f"cfg.trainer.checkpoint_activations={word}", save_dir=tmp_path / word
        )
        states.append(torch.load(pretrain(settings).last, weights_only=True)["state_dict"])
        counts.append(len(again))
    assert counts == [0, 2 * 16]  # steps, and blocks of either network
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_segmentation_learns_two_scans(tiny_settings: Callable[..., Settings]) -> None:
    settings = tiny_settings("cfg.transforms.rotation=false", "cfg.transforms.flip=false")
    batch = first_batch(settings, labels=True)
    module = SegmentationModule(settings, LidarDataModule(settings, labels=True).train_set.class_names)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        loss = module.losses(module.predict(batch, seeded(), training=True))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(17), rel=0.35)
    assert losses[-1] < 0.5 * losses[0]


def test_linear_probe_moves_the_classifier_only(
    tiny_settings: Callable[..., Settings], tmp_path: object
) -> None:
    settings = tiny_settings(
        "cfg.downstream.linear_probe=true",
        "cfg.downstream.checkpoint_dir=x",
        "cfg.downstream.checkpoint_name=y",
    )
    data = LidarDataModule(settings, labels=True)
    module = SegmentationModule(settings, data.train_set.class_names)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    build_trainer(settings, tmp_path, epochs=1, val_interval=1, monitor="val/miou").fit(
        module, datamodule=data
    )
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"net.classifier.0.weight", "net.classifier.0.bias"}


def test_a_batch_without_points_names_its_scans(tiny_settings: Callable[..., Settings]) -> None:
    settings = tiny_settings()
    batch = first_batch(settings, labels=False)
    empty = {
        **batch,
        "pos": batch["pos"][:0],
        "intensities": batch["intensities"][:0],
        "batch": batch["batch"][:0],
    }
    with pytest.raises(ValueError, match="No scan of this batch has a point left: samples/LIDAR_TOP"):
        PretrainingModule(settings).training_step(empty, 0)


def test_a_loss_that_is_no_number_ends_the_run(
    tiny_settings: Callable[..., Settings], tmp_path: object
) -> None:
    settings = tiny_settings()
    module = PretrainingModule(settings)
    with torch.no_grad():
        module.decoder.fc_out.bias.fill_(math.nan)
    trainer = build_trainer(settings, tmp_path, epochs=1, val_interval=1, monitor="val/iou")
    with pytest.raises(NanError, match="NaN or infinite gradient in seed 0, epoch 0.*gradient_clip_val"):
        trainer.fit(module, datamodule=LidarDataModule(settings, labels=False))


def test_precision_is_chosen_by_the_device() -> None:
    assert resolve_precision("auto", "cpu") == "32-true"
    assert resolve_precision("16-mixed", "cpu") == "16-mixed"


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", torch.float32), ("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)],
)
def test_arithmetic_outside_a_trainer_is_that_of_the_run(precision: str, expected: torch.dtype) -> None:
    with arithmetic(precision, torch.device("cpu"))():
        found = torch.ones(2, 2) @ torch.ones(2, 2)
    assert found.dtype == expected
