"""Scores of a split at full resolution against a search over all pairs of points."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from also_selfsup.evaluation.confusion import save_scores
from also_selfsup.evaluation.whole_split import score_split
from also_selfsup.transforms.pipeline import SegmentationTransforms
from also_selfsup.transforms.randomness import step_generator

TRANSFORMS = SegmentationTransforms(
    grid_size=0.5, manifold_points=30, voxel_size=0.5, inputs=("intensities",), rotation=True, flip=True
)


class Octants(nn.Module):
    """Classifies a point by the sign of x and of y: classes 1 to 4."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        classes = 1 + (batch["pos"][:, 0] > 0).long() + 2 * (batch["pos"][:, 1] > 0).long()
        return {"latents": nn.functional.one_hot(classes, 5).float()}


@pytest.fixture
def batches() -> list[dict[str, object]]:
    generator = torch.Generator().manual_seed(4)
    made = []
    for sizes in ([150, 90], [40]):
        index = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        made.append(
            {
                "pos": torch.randn(len(index), 3, generator=generator) * 4,
                "intensities": torch.rand(len(index), 1, generator=generator),
                "y": torch.randint(0, 5, (len(index),), generator=generator),
                "sensor": torch.zeros(len(sizes), 3),
                "batch": index,
                "names": [f"scan {size}" for size in sizes],
                "skipped": [],
            }
        )
    return made


def test_every_point_gets_the_class_of_its_nearest_kept_point(batches: list[dict[str, object]]) -> None:
    seen: dict[str, Tensor] = {}
    matrix = score_split(
        Octants(), TRANSFORMS, batches=batches, class_count=5, seed=9, on_scan=seen.__setitem__
    )
    expected = torch.zeros(5, 5, dtype=torch.int64)
    for step, batch in enumerate(batches):
        generator = step_generator(seed=9, epoch=0, rank=0, step=step, device="cpu")
        kept = TRANSFORMS(batch, generator, training=False)
        classes = Octants()(kept)["latents"].argmax(1)
        apart = torch.cdist(batch["pos"].double(), kept["pos"].double())
        apart[batch["batch"][:, None] != kept["batch"][None, :]] = torch.inf
        nearest = classes[apart.argmin(1)]
        assert len(kept["pos"]) < len(batch["pos"])
        for label, predicted in zip(batch["y"].tolist(), nearest.tolist(), strict=True):
            expected[label, predicted] += 1
        for number, name in enumerate(batch["names"]):
            assert torch.equal(seen[name], nearest[batch["batch"] == number])
    assert torch.equal(matrix, expected) and int(matrix.sum()) == 280


def test_only_the_network_runs_in_the_arithmetic_given(batches: list[dict[str, object]]) -> None:
    seen: list[torch.dtype] = []

    class Net(Octants):
        def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
            assert fields["pos"].dtype == torch.float32
            seen.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
            return super().forward(fields)

    bf16 = partial(torch.autocast, "cpu", torch.bfloat16)
    matrix = score_split(Net(), TRANSFORMS, batches=batches, class_count=5, seed=9, arithmetic=bf16)
    assert seen == [torch.bfloat16] * len(batches) and not torch.is_autocast_enabled("cpu")
    assert torch.equal(matrix, score_split(Octants(), TRANSFORMS, batches=batches, class_count=5, seed=9))


def test_without_labels_only_predictions_come(batches: list[dict[str, object]]) -> None:
    for batch in batches:
        del batch["y"]
    seen: dict[str, Tensor] = {}
    matrix = score_split(
        Octants(), TRANSFORMS, batches=batches, class_count=5, seed=0, on_scan=seen.__setitem__
    )
    assert int(matrix.sum()) == 0
    assert {name: len(classes) for name, classes in seen.items()} == {
        "scan 150": 150,
        "scan 90": 90,
        "scan 40": 40,
    }


def test_scores_are_written_as_they_are(tmp_path: Path) -> None:
    matrix = torch.tensor([[7, 7, 7], [0, 6, 2], [0, 0, 0]])
    path = save_scores(matrix, ["ignore", "car", "bus"], path=tmp_path / "scores.csv")
    with path.open(newline="") as file:
        rows = dict(csv.reader(file))
    assert rows == {
        "class": "iou",
        "car": "0.750000",
        "bus": "",
        "mean": "0.750000",
        "frequency-weighted": "0.750000",
    }
