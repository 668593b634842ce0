"""Label maps: against the devkit, the benchmark's own file, and the raw values that files can hold."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from also_selfsup.data.labels import NUSCENES, SEMANTICKITTI, SEMANTICPOSS, LabelMap


def test_nuscenes_classes_are_the_devkits() -> None:
    evaluation = pytest.importorskip("nuscenes.eval.lidarseg.utils")
    colours = pytest.importorskip("nuscenes.utils.color_map").get_colormap()
    mapper = evaluation.LidarsegClassMapper.__new__(evaluation.LidarsegClassMapper)
    mapper.ignore_class = mapper.get_ignore_class()
    joined, numbers = mapper.get_fine2coarse(), mapper.get_coarse2idx()
    # The devkit lists its colours in the order of the class numbers.
    truth = [numbers[joined[name]] for name in colours]
    assert NUSCENES.training(np.arange(32, dtype=np.uint8)).tolist() == truth
    assert list(NUSCENES.names) == sorted(numbers, key=lambda name: numbers[name])


def test_semantickitti_classes_are_the_benchmarks(shared_data: Path) -> None:
    truth = yaml.safe_load((shared_data / "also_lists" / "semantic-kitti.yaml").read_text())
    raw = np.array(list(truth["learning_map"]), np.uint32)
    assert SEMANTICKITTI.training(raw).tolist() == list(truth["learning_map"].values())
    assert set(SEMANTICKITTI.to_training) == set(truth["learning_map"])
    assert dict(enumerate(SEMANTICKITTI.to_raw)) == truth["learning_map_inv"]
    names = [truth["labels"][truth["learning_map_inv"][label]] for label in range(1, 20)]
    assert list(SEMANTICKITTI.names[1:]) == names


@pytest.mark.parametrize("label_map", [NUSCENES, SEMANTICKITTI])
def test_every_value_that_a_file_can_hold_is_mapped_or_refused(label_map: LabelMap) -> None:
    for raw in range(label_map.largest + 1):
        value = np.array([raw])
        if raw in label_map.to_training:
            assert 0 <= label_map.training(value)[0] < len(label_map.names)
        elif raw % 97 == 0:
            with pytest.raises(ValueError, match=f"raw class {raw} "):
                label_map.training(value)


def test_an_unknown_class_among_known_ones_is_named() -> None:
    with pytest.raises(ValueError, match="raw class 77, 300 is none of the 34"):
        SEMANTICKITTI.training(np.array([10, 300, 40, 77, 300], np.uint32))


@pytest.mark.parametrize("label_map", [SEMANTICKITTI, SEMANTICPOSS])
def test_raw_classes_of_training_labels_lead_back_to_them(label_map: LabelMap) -> None:
    labels = np.arange(len(label_map.names))
    assert np.array_equal(label_map.training(label_map.raw(labels)), labels)


def test_semanticposs_has_thirteen_classes_and_ignores_all_else() -> None:
    raw = np.arange(0x10000, dtype=np.uint32)
    labels = SEMANTICPOSS.training(raw)
    # By training label: the raw classes, as the data set's users join them.
    classes = {
        "person": [4, 5],
        "rider": [6],
        "car": [7],
        "trunk": [8],
        "plants": [9],
        "traffic-sign": [10, 11, 12],
        "pole": [13],
        "garbage-can": [14],
        "building": [15],
        "cone-stone": [16],
        "fence": [17],
        "bike": [21],
        "ground": [22],
    }
    assert SEMANTICPOSS.names == ("ignore", *classes)
    for label, known in enumerate(classes.values(), start=1):
        assert raw[labels == label].tolist() == known
    assert (labels == 0).sum() == 0x10000 - 16


@pytest.mark.parametrize("labels", [[-1, 3], [3, 17]])
def test_predictions_outside_the_training_labels_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="training labels from 0 to 16"):
        NUSCENES.raw(np.array(labels))


def test_no_points_have_no_labels() -> None:
    assert NUSCENES.training(np.zeros(0, np.uint8)).shape == (0,)
    assert NUSCENES.raw(np.zeros(0, np.int64)).shape == (0,)
