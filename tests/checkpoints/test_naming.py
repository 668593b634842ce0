"""The same weights come out of every kind of checkpoint under the same names."""

from typing import Any

import pytest
import torch

from also_selfsup.checkpoints.naming import BACKBONE, DECODER, NET, kind_of, state_table, weights
from also_selfsup.checkpoints.reading import CheckpointError

PLAIN = {"stem.0.kernel": torch.ones(2), "classifier.0.weight": torch.zeros(3)}
LIGHTNING = {
    **{f"backbone.{name}": tensor for name, tensor in PLAIN.items()},
    "decoder.fc_in.weight": torch.ones(1),
}


def put(prefix: str, table: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in table.items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        PLAIN,
        {"state_dict": PLAIN, "epoch": 3},
        {"state_dict": LIGHTNING, "epoch": 3},
        {"model_state": PLAIN},
        put("module.", PLAIN),
        {"state_dict": put("module.", LIGHTNING)},
        {"state_dict": put("backbone._orig_mod.", PLAIN)},
        {"state_dict": put("backbone.model.", PLAIN)},
        put("model.", PLAIN),
        {**PLAIN, "note": "not a tensor"},
    ],
)
def test_every_kind_gives_the_backbone(checkpoint: dict[str, Any]) -> None:
    found = weights(checkpoint, BACKBONE)
    assert list(found) == list(PLAIN)
    assert all(found[name] is PLAIN[name] for name in PLAIN)


def test_second_keeps_its_counter_for_the_report() -> None:
    second = {"global_step": torch.zeros(1), "backbone_3d.conv1.0.0.weight": torch.ones(2)}
    for checkpoint in (second, put("model.", second), {"state_dict": put("backbone.model.", second)}):
        assert list(weights(checkpoint, BACKBONE)) == list(second)


def test_parts_of_a_pre_training_checkpoint() -> None:
    checkpoint = {"state_dict": LIGHTNING}
    assert list(weights(checkpoint, DECODER)) == ["fc_in.weight"]
    assert list(weights(checkpoint)) == list(state_table(checkpoint)) == list(LIGHTNING)


def test_layers_called_model_stay_when_others_stand_beside_them() -> None:
    table = {"model.a": torch.ones(1), "head.b": torch.ones(1)}
    assert list(weights(table, NET)) == list(table)


@pytest.mark.parametrize(
    ("names", "kind"),
    [(LIGHTNING, "pre-training"), (put("net.", PLAIN), "downstream"), (PLAIN, "plain"), ({}, "plain")],
)
def test_kind(names: dict[str, Any], kind: str) -> None:
    assert kind_of(names) == kind


def test_wrong_kind_of_run_is_named() -> None:
    with pytest.raises(
        CheckpointError, match=r"of a downstream run: .* begin with net\., none with backbone\."
    ):
        weights({"state_dict": put("net.", PLAIN)}, BACKBONE)
    with pytest.raises(CheckpointError, match=r"of a pre-training run: .* begin with backbone\., decoder\."):
        weights({"state_dict": LIGHTNING}, NET)


def test_no_weights() -> None:
    with pytest.raises(
        CheckpointError, match=r"neither under state_dict .* its keys are epoch, state_dict\."
    ):
        weights({"epoch": 3, "state_dict": {}}, BACKBONE)
