"""What is wrong with a setting is said in one message: key, value, choices."""

import re

import pytest

from also_selfsup.settings.limits import SettingsError, check
from also_selfsup.settings.names import UserError, choose
from also_selfsup.settings.run import load, to_settings
from also_selfsup.settings.schema import Settings

TYPOS = {
    "cfg.training.batchsize=5": "cfg.training.batchsize: no such setting. Did you mean batch_size? "
    "cfg.training has: max_epochs, batch_size, lr, weight_decay, init_from, on_nan.",
    "+cfg.training.batchsize=5": "cfg.training.batchsize: no such setting. Did you mean batch_size?",
    "cfg.trainer.acelerator=gpu": "cfg.trainer.acelerator: no such setting. Did you mean accelerator?",
    "cfg.trainin.lr=1": "cfg.trainin: no such setting. Did you mean training?",
    "cfg.zebra=1": "cfg.zebra: no such setting. cfg has: name, dataset_name,",
    "training.lr=1": "training: no such key; settings start with cfg",
    "+learning_rate=1": "learning_rate: no such key; settings start with cfg",
    "hydra.zebra=1": "Could not override 'hydra.zebra'.",
}
TYPES = {
    "cfg.training.batch_size=abc": "cfg.training.batch_size=abc: expected int (scans a step and process).",
    "cfg.val_interval=2.5": "cfg.val_interval=2.5: expected int (epochs between validations).",
    "cfg.training.lr=true": "cfg.training.lr=True: expected float",
    "cfg.transforms.flip=maybe": "cfg.transforms.flip=maybe: expected bool",
    "cfg.transforms.flip='not in'": "cfg.transforms.flip=not in: expected bool",
    "cfg.seed=null": "cfg.seed=None: expected int (same seed, same run).",
    "cfg.inputs=pos": "cfg.inputs=pos: expected list",
    "cfg.training=3": "cfg.training=3: a group of settings, not one of them; set cfg.training.max_epochs",
    "cfg.network.voxel_size=abc": "cfg.network.voxel_size=abc: a length above 0 m",
    "cfg.network.voxel_size=[0.1,0.1]": "cfg.network.voxel_size=[0.1, 0.1]: a length above 0 m, or three",
    "cfg.trainer.limit_train_batches=few": "cfg.trainer.limit_train_batches=few: a count of batches",
    "cfg.trainer.limit_train_batches=0": "cfg.trainer.limit_train_batches=0: a count of batches (1 or more)",
    "cfg.save_dir=${oc.env:NO_SUCH_VARIABLE}": "cfg.save_dir: KeyError raised while resolving interpolation: "
    "\"Environment variable 'NO_SUCH_VARIABLE' not found\"",
    "cfg.downstream.checkpoint_name=epoch=3.ckpt": "cfg.downstream.checkpoint_name=epoch=3.ckpt: "
    "cannot be read as KEY=VALUE.",
    "cfg.seed": "cfg.seed: cannot be read as KEY=VALUE.",
}
RANGES = {
    "cfg.training.batch_size=0": "cfg.training.batch_size=0: must be at least 1 (scans a step and process).",
    "cfg.training.lr=0": "cfg.training.lr=0.0: must be above 0.0",
    "cfg.training.lr=nan": "cfg.training.lr=nan: must be a finite number",
    "cfg.network.radius=inf": "cfg.network.radius=inf: must be a finite number",
    "cfg.network.voxel_size=0": "cfg.network.voxel_size=0: a length above 0 m",
    "cfg.network.voxel_size=[0.1,0.1,-1]": "cfg.network.voxel_size=[0.1, 0.1, -1]: a length above 0 m",
    "cfg.network.radius=-1": "cfg.network.radius=-1.0: must be above 0.0 m",
    "cfg.precision=fp8": "cfg.precision=fp8: choose one of auto, 32-true, bf16-mixed,",
    "cfg.inputs=[pos,colour]": "cfg.inputs=colour: choose one of intensities, pos.",
    "cfg.data.on_bad_scan=ignore": "cfg.data.on_bad_scan=ignore: choose one of raise, skip.",
    "cfg.network.framework=tensorrt": "cfg.network.framework=tensorrt: choose one of auto, native,",
    "cfg.trainer.limit_val_batches=1.5": "cfg.trainer.limit_val_batches=1.5: a count of batches",
    "cfg.trainer.limit_val_batches=-1": "cfg.trainer.limit_val_batches=-1: a count of batches",
    "cfg.trainer.limit_val_batches=true": "cfg.trainer.limit_val_batches=True: a count of batches",
}
PLACES = {
    "cfg.name=../x": "cfg.name=../x: must name one folder, which is made under cfg.save_dir, without a /",
    "cfg.name=a/b": "cfg.name=a/b: must name one folder",
    "cfg.name=/tmp/x": "cfg.name=/tmp/x: must name one folder",
    "cfg.name=..": "cfg.name=..: must name one folder",
    "cfg.name=.": "cfg.name=.: must name one folder",
    "cfg.name=": "cfg.name=: must name one folder",
    "cfg.name=' '": "cfg.name= : must name one folder",
    "cfg.save_dir=": "cfg.save_dir=: no folder; name one, such as results.",
}
CONTRADICTIONS = {
    "cfg.inputs=[]": "cfg.inputs=[]: the network needs",
    "cfg.downstream.checkpoint_name=x.ckpt": "cfg.downstream.checkpoint_dir=None and "
    "cfg.downstream.checkpoint_name=x.ckpt: both, or neither",
    "cfg.downstream.probe_hidden=true": "cfg.downstream.probe_hidden=true: fine-tuning has no hidden layer",
    "cfg.downstream.linear_probe=true": "cfg.downstream.linear_probe=true: probing needs weights",
}


@pytest.mark.parametrize(("override", "message"), (TYPOS | TYPES | RANGES | PLACES | CONTRADICTIONS).items())
def test_one_message(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load("nuscenes", [override])


def test_no_loss_left() -> None:
    with pytest.raises(SettingsError, match=r"cfg\.loss\.recons_lambda=0 and .*: nothing would be learnt"):
        load("nuscenes", ["cfg.loss.recons_lambda=0", "cfg.loss.intensity_lambda=0"])


def test_no_residual_blocks_to_compute_again() -> None:
    message = r"cfg\.trainer\.checkpoint_activations=true: cfg\.network\.backbone=SECOND has no residual"
    with pytest.raises(SettingsError, match=message):
        load("kitti3d_second", ["cfg.trainer.checkpoint_activations=true"])


def test_unknown_recipe() -> None:
    with pytest.raises(SettingsError, match="cfg=nuscnes: no such recipe; choose one of demo, .*nuscenes"):
        load("nuscnes")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("cfg.network.voxel_size=[0.1,0.1,0.2]", "network.voxel_size", [0.1, 0.1, 0.2]),
        ("cfg.trainer.limit_train_batches=0.25", "trainer.limit_train_batches", 0.25),
        ("cfg.trainer.limit_train_batches=3", "trainer.limit_train_batches", 3),
        ("cfg.val_interval=7", "val_interval", 7),
        ("cfg.downstream.val_interval=5", "downstream.val_interval", 5),
        ("cfg.save_dir=${cfg.name}/out", "save_dir", "nuscenes/out"),
        ("cfg.save_dir=.", "save_dir", "."),
        ("cfg.name=..x", "name", "..x"),
        ("cfg.downstream.checkpoint_name=null", "downstream.checkpoint_name", None),
        ("cfg.inputs=[pos]", "inputs", ["pos"]),
    ],
)
def test_allowed_values_arrive(override: str, key: str, value: object) -> None:
    found: object = load("nuscenes", [override])
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


def test_plain_dictionaries_are_checked_alike() -> None:
    assert to_settings({"training": {"lr": 1}}).training.lr == 1.0
    with pytest.raises(SettingsError, match=r"cfg\.training\.batchsize: no such setting"):
        to_settings({"training": {"batchsize": 5}})
    assert check(Settings()) == Settings()


def test_choose() -> None:
    table = {"MinkUNet34": 1, "SPVCNN": 2}
    assert choose(table, "SPVCNN", "backbone") == 2
    message = "Unknown backbone 'MinkUnet34': choose one of MinkUNet34, SPVCNN. Did you mean 'MinkUNet34'?"
    with pytest.raises(UserError, match=re.escape(message)):
        choose(table, "MinkUnet34", "backbone")
