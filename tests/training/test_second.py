"""Pre-training with a bird's-eye-view backbone on a tiny box of a simulated street: from scans to losses."""

import csv
from collections.abc import Callable

import numpy as np
import pytest
import torch

from also_selfsup.data.scan import Batch
from also_selfsup.networks import BACKBONES
from also_selfsup.reporting.occupancy import encode, occupancy
from also_selfsup.settings.files import flat_values
from also_selfsup.settings.limits import BIRDS_EYE, SettingsError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.transforms.randomness import step_generator

# 32 x 32 x 40 voxels: 4 x 4 cells of the view, 2 m by 1 m each.
BOX = ["cfg.network.voxel_size=[0.25,0.125,0.1]", "cfg.network.extent=[0.0,-2.0,-3.0,8.0,2.0,1.0]"]
SECOND = ["cfg.network.backbone=SECOND", "cfg.network.column_search=true", "cfg.inputs=[pos,intensities]"]
TWO_STEPS = ["cfg.training.batch_size=1", "cfg.training.max_epochs=1", "cfg.trainer.max_steps=2"]
Compose = Callable[..., Settings]


@pytest.fixture
def settings(tiny_settings: Compose) -> Settings:
    """Two scans a step, queries near the box's cells and elsewhere."""
    return tiny_settings(*SECOND, *BOX, "cfg.non_manifold_points=600", "cfg.network.radius=1.2")


def first_batch(settings: Settings) -> Batch:
    return next(iter(LidarDataModule(settings, labels=False).train_dataloader()))


def seeded() -> torch.Generator:
    return step_generator(seed=0, epoch=1, rank=0, step=0, device="cpu")


@pytest.mark.parametrize("centres", ["exact", "published"])
def test_pairs_are_those_of_brute_force_in_x_and_y(tiny_settings: Compose, centres: str) -> None:
    more = (f"cfg.network.bev_centres={centres}", "cfg.network.radius=1.2", "cfg.non_manifold_points=600")
    settings = tiny_settings(*SECOND, *BOX, *more)
    fields = PretrainingModule(settings).predict(first_batch(settings), seeded(), training=True)
    along = (0, 1, 2, 3) if centres == "published" else (0.5, 1.5, 2.5, 3.5)
    steps = (8.0 / 3, 4.0 / 3) if centres == "published" else (2.0, 1.0)
    cells = np.array([(i * steps[0], j * steps[1] - 2.0) for j in along for i in along])
    np.testing.assert_allclose(fields["latents_pos"][:16, :2], cells, atol=1e-6)
    query = fields["pos_non_manifold"].double().numpy()
    expected = set()
    for row, (x, y, _) in enumerate(query):
        scan = int(fields["pos_non_manifold_batch"][row])
        near = np.hypot(cells[:, 0] - x, cells[:, 1] - y) < 1.2
        expected |= {(row, 16 * scan + cell) for cell in np.flatnonzero(near)}
    found = set(zip(fields["pair_query"].tolist(), fields["pair_support"].tolist(), strict=True))
    assert len(expected) > 100 and found == expected
    assert len({row for row, _ in expected}) < len(query)  # queries far from the box have no pair
    heights = fields["pos_non_manifold"][fields["pair_query"], 2]
    assert float(heights.abs().max()) > 1.2  # nearer than the radius in the plane only


def test_the_decoder_sees_the_query_above_its_cell(settings: Settings) -> None:
    module = PretrainingModule(settings).eval()
    fields = module.predict(first_batch(settings), seeded(), training=False)
    query, cell = fields["pair_query"], fields["pair_support"]
    relative = fields["pos_non_manifold"][query] - fields["latents_pos"][cell]
    assert torch.equal(relative[:, 2], fields["pos_non_manifold"][query, 2])
    hidden = module.decoder.fc_in(torch.cat([fields["latents"][cell], relative], 1))
    for layer in module.decoder.mlp_layers:
        hidden = layer(hidden.relu())
    torch.testing.assert_close(fields["predictions"], module.decoder.fc_out(hidden), rtol=1e-4, atol=1e-4)


def test_voxels_are_those_of_the_box(settings: Settings) -> None:
    module = PretrainingModule(settings)
    fields = module.transforms(first_batch(settings), seeded(), training=False)
    low, size = np.array([0, -2, -3], np.float32), np.array([0.25, 0.125, 0.1], np.float32)
    cells = np.floor((fields["pos"].numpy() - low) / size)
    inside = ((cells >= 0) & (cells < (32, 32, 40))).all(1)
    rows = np.column_stack([fields["batch"].numpy(), cells])[inside]
    assert 0 < inside.sum() < len(inside)
    found = np.column_stack([fields["voxel_coords_batch"].numpy(), fields["voxel_coords"].numpy()])
    assert np.array_equal(found, np.unique(rows, axis=0)) and "voxel_to_pc_id" not in fields


def test_a_step_lowers_the_loss_and_moves_every_weight(settings: Settings) -> None:
    module, batch = PretrainingModule(settings), first_batch(settings)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.002)
    before = {name: tensor.detach().clone() for name, tensor in module.named_parameters()}
    losses = []
    for _ in range(5):
        loss = module.losses(module.predict(batch, seeded(), training=True))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(not torch.equal(tensor, before[name]) for name, tensor in module.named_parameters())


def test_two_steps_of_the_script(
    start_script: Callable[..., "object"], tiny: Callable[..., list[str]]
) -> None:
    process = start_script("train_selfsupervised", "cfg=nuscenes", *tiny(*SECOND, *BOX, *TWO_STEPS))
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "convert_models.py --ckpt" in output.replace("\n", "")


def test_two_steps_of_the_recipe(tiny: Callable[..., list[str]]) -> None:
    kept = [item for item in tiny(*TWO_STEPS) if "backbone" not in item and "voxel_size" not in item]
    box = "cfg.network.extent=[0.0,-2.0,-5.0,8.0,2.0,3.0]"  # the recipe's height, coarser to the sides
    run = pretrain(load("nuscenes_second_kitti", [*kept, BOX[0], box]))
    state = torch.load(run.last, weights_only=True)
    assert state["global_step"] == 2
    names = [name for name in state["state_dict"] if name.startswith("backbone.backbone_")]
    assert len(names) == 156 and all(state["state_dict"][name].isfinite().all() for name in names)
    with (run.folder / "logs_train.csv").open() as file:
        assert all(float(row["loss"]) > 0 for row in csv.DictReader(file))


def test_values_of_the_recipe() -> None:
    found = flat_values(load("nuscenes_second_kitti"))
    expected = {
        "inputs": ["pos", "intensities"],
        "manifold_points": 80000,
        "non_manifold_points": 4096,
        "transforms.grid_size": 0.05,
        "network.voxel_size": [0.05, 0.05, 0.1],
        "network.extent": [0.0, -40.0, -5.0, 70.4, 40.0, 3.0],
        "network.bev_centres": "exact",
        "training.max_epochs": 100,
        "training.batch_size": 8,
    }
    assert {key: found[key] for key in expected} == expected


def test_settings_know_the_birds_eye_view_backbones() -> None:
    assert {name for name, network in BACKBONES.items() if network.birds_eye} == set(BIRDS_EYE)


def test_segmentation_is_refused(settings: Settings) -> None:
    with pytest.raises(
        SettingsError, match=r"cfg\.network\.backbone=SECOND: a backbone for object detection"
    ):
        SegmentationModule(settings, ("ignore", "road"))


def test_occupancy_can_be_asked(settings: Settings) -> None:
    module = PretrainingModule(settings)
    scan = LidarDataModule(settings, labels=False).train_set[0]
    queries = torch.tensor([[1.0, -1.5, 9.0], [-30.0, 0.0, 0.0]])  # over the centre of a cell; far behind
    found = occupancy(module, encode(module, scan), queries=queries)
    assert 0 < float(found[0]) < 1 and bool(found[1].isnan())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["cfg.network.extent=null"], "cfg.network.extent=null: cfg.network.backbone=SECOND needs the box"),
        (["cfg.network.column_search=false"], "have no height; set cfg.network.column_search=true"),
        (["cfg.network.framework=torchsparse"], "torchsparse: it knows no bounded grid"),
        (["cfg.network.backbone=SPVCNN"], "cfg.network.backbone=SPVCNN sees all points"),
        (["cfg.network.bev_centres=half"], "cfg.network.bev_centres=half: choose one of exact, published"),
        (["cfg.network.voxel_size=0.3"], "x: 0.0 m to 8.0 m holds 26.67 voxels of 0.3 m"),
        (["cfg.network.extent=[0,0,0,1]"], "give six numbers"),
        (["cfg.network.extent=[0,0,0,8,4,2]"], "z: 20 voxels; SECOND needs 24"),
        (["cfg.network.extent=7"], "cfg.network.extent=7: expected list"),
    ],
)
def test_settings_that_contradict_each_other(
    tiny: Callable[..., list[str]], overrides: list[str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load("nuscenes", [*tiny(*SECOND, *BOX), *overrides])
    assert message in str(caught.value)
