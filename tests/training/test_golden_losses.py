"""The first losses of every recipe, stored: a change that alters what a seed computes has to say so.

Everything is computed in float64 from points that are exact on any machine. What is left to differ between
processors is the order in which sums are made: with AVX-512, AVX2 and plain instructions, for torch, MKL,
oneDNN and numpy alike, first losses agreed to 3e-11. The second ones come after a step of AdamW, which
divides each gradient by its own size, so that one which is nothing but rounding moves a weight as far as any
other: they agreed to 1e-14 in most recipes, and to 3e-6 in one. TOLERANCES leave 30 times that; another
formula, initial weight or random draw is far above. After a change that is meant to alter numbers:

    python tests/training/test_golden_losses.py
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from also_selfsup.data import DATASETS
from also_selfsup.data.scan import Batch, Scan, collate
from also_selfsup.settings.run import load, recipes
from also_selfsup.settings.schema import Settings
from also_selfsup.training.optimisation import adamw
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.task import TaskModule

GOLDEN = Path(__file__).with_name("golden_losses.json")
TOLERANCES = (1e-9, 1e-4)  # relative, of each step; the reason stands above
FEW = ["cfg.manifold_points=120", "cfg.non_manifold_points=60", "cfg.network.latent_size=16"]


def small_settings(recipe: str) -> Settings:
    """The recipe's own, with fewer points and, for SECOND, a small box around the sensor."""
    settings = load(recipe, FEW)
    if settings.network.extent is None:
        return settings
    x, y, _ = (64 * size for size in settings.network.voxel_size)
    _, _, low, _, _, high = settings.network.extent
    return load(recipe, [*FEW, f"cfg.network.extent=[{-x:g},{-y:g},{low},{x:g},{y:g},{high}]"])


def scan(seed: int, *, classes: int) -> Scan:
    """200 points of a floor and a wall behind it, 2 m wide, with intensities and labels of no meaning."""
    numbers = np.random.default_rng(seed)
    points = numbers.uniform((1.2, -1, -1.5), (2.7, 1, 0.5), (200, 3))
    points[:100, 2], points[100:, 0] = -1.5, 2.7
    return Scan(
        pos=points.astype(np.float32),
        intensities=numbers.uniform(0, 1, (200, 1)).astype(np.float32),
        sensor=np.zeros(3, np.float32),
        name=f"scan {seed}",
        labels=numbers.integers(0, classes, 200) if classes else None,
    )


def in_double(batch: Batch) -> Batch:
    """A batch as `cfg.precision=64-true` has it."""
    return {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in batch.items()}


def first_losses(module: TaskModule, settings: Settings, *, classes: int) -> list[dict[str, float]]:
    """Losses by name of the first steps, each of two scans."""
    module.train()
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.eval()  # its random numbers are others on processors of another maker
    stage = settings.downstream if classes else settings.training
    optimizer = adamw(module.parameters(), lr=stage.lr, weight_decay=stage.weight_decay)
    found = []
    for step in range(len(TOLERANCES)):
        batch = collate([scan(2 * step + i, classes=classes) for i in range(2)])
        fields = module.predict(in_double(batch), module.generator(step, training=True), training=True)
        losses = module.losses(fields)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        found.append({name: value.item() for name, value in losses.items()})
    return found


def pretraining(recipe: str) -> list[dict[str, float]]:
    settings = small_settings(recipe)
    return first_losses(PretrainingModule(settings), settings, classes=0)


def finetuning(recipe: str) -> list[dict[str, float]]:
    settings = small_settings(recipe)
    names = DATASETS[settings.dataset_name].class_names
    return first_losses(SegmentationModule(settings, names), settings, classes=len(names))


def compute(part: str, recipe: str) -> list[dict[str, float]]:
    """Losses of a case, in float64 from the first weight on."""
    torch.set_default_dtype(torch.float64)
    try:
        return pretraining(recipe) if part == "pretraining" else finetuning(recipe)
    finally:
        torch.set_default_dtype(torch.float32)


def cases() -> list[tuple[str, str]]:
    """Every recipe's pre-training, and the fine-tuning of those that say something of their own about it."""
    parts = [("pretraining", recipe) for recipe in recipes()]
    own = [recipe for recipe in recipes() if load(recipe).downstream != load("folder").downstream]
    return parts + [("finetuning", recipe) for recipe in own]


@pytest.mark.parametrize(("part", "recipe"), cases())
def test_first_losses_are_the_stored_ones(part: str, recipe: str) -> None:
    stored = json.loads(GOLDEN.read_text())[f"{part} {recipe}"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = compute(part, recipe)
    torch.set_num_threads(threads)
    for one, other, tolerance in zip(found, stored, TOLERANCES, strict=True):
        assert one == pytest.approx(other, rel=tolerance), "see the head of this file"


def test_nothing_else_is_stored() -> None:
    assert sorted(json.loads(GOLDEN.read_text())) == sorted(" ".join(case) for case in cases())


def main() -> None:
    """Store what is computed now."""
    torch.set_num_threads(1)
    GOLDEN.write_text(json.dumps({f"{p} {r}": compute(p, r) for p, r in cases()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
