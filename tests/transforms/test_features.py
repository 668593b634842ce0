"""Inputs of the network."""

import pytest
import torch

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.features import channel_count, point_features


@pytest.mark.parametrize("inputs", [["intensities"], ["pos"], ["pos", "intensities"], ["intensities", "pos"]])
def test_features_are_the_fields_in_their_order(uneven: Batch, inputs: list[str]) -> None:
    found = point_features(uneven, inputs)
    expected = [[float(v) for name in inputs for v in uneven[name][row]] for row in (0, 17, -1)]
    assert found[[0, 17, -1]].tolist() == expected
    assert found.shape == (len(uneven["pos"]), channel_count(inputs))
    assert found.dtype == torch.float32


def test_unknown_inputs_are_refused_with_the_choices(uneven: Batch) -> None:
    with pytest.raises(ValueError, match="'intensity'.*intensities, pos"):
        point_features(uneven, ["pos", "intensity"])


def test_no_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        channel_count([])
