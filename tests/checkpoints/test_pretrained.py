"""Loading weights accounts for every name, and changes nothing where it refuses."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from also_selfsup.checkpoints.pretrained import load_backbone, load_network, load_start, load_weights
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.networks import build_backbone


def state_of(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Other weights for the same network."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator).to(value.dtype)
        for name, value in network.state_dict().items()
    }


def test_loads_every_weight(network: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    state = state_of(network, seed=1)
    with caplog.at_level("INFO"):
        report = load_weights(network, state, source="x.ckpt")
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert report.loaded == tuple(state) and str(report) == caplog.messages[0]
    assert str(report) == "x.ckpt: weights 9 loaded, 0 missing, 0 unexpected, 0 of another shape"


def test_classifier_may_begin_anew(network: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = {
        **state_of(network, seed=1),
        "classifier.weight": torch.ones(7, 8),
        "decoder_left": torch.ones(1),
    }
    del state["classifier.bias"]
    report = load_weights(network, state, allow_missing=["classifier.*"])
    after = network.state_dict()
    assert torch.equal(after["classifier.weight"], before["classifier.weight"])
    assert torch.equal(after["classifier.bias"], before["classifier.bias"])
    assert torch.equal(after["stem.weight"], state["stem.weight"])
    assert report.missing == ("classifier.bias",) and report.unexpected == ("decoder_left",)
    assert report.mismatched == ("classifier.weight: (7, 8) here, (5, 8) in the network",)
    assert "7 loaded, 1 missing (classifier.bias), 1 unexpected (decoder_left)" in str(report)
    assert str(report).endswith("; 2 freshly initialised")
    assert caplog.records[0].levelname == "WARNING"  # for what was not used


@pytest.mark.parametrize("change", ["missing", "mismatched"])
def test_refusal_changes_nothing(network: nn.Module, change: str) -> None:
    before = copy.deepcopy(network.state_dict())
    state = state_of(network, seed=1)
    if change == "missing":
        del state["stem.bias"]
        message = r"8 loaded, 1 missing \(stem.bias\)"
    else:
        state["stem.bias"] = torch.ones(9)
        message = r"1 of another shape \(stem.bias: \(9,\) here, \(8,\) in the network\)"
    with pytest.raises(CheckpointError, match=message + ".*compare cfg.network and cfg.inputs"):
        load_weights(network, state, allow_missing=["classifier.*"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_nothing_matches_even_when_all_may_be_missing(network: nn.Module) -> None:
    with pytest.raises(
        CheckpointError, match=r"the source has fc_in, the network stem.weight, stem.bias, .*6 more"
    ):
        load_weights(network, {"fc_in": torch.ones(1)}, allow_missing=["*"])


def test_step_counter_is_dropped_by_name(network: nn.Module) -> None:
    report = load_weights(network, {**state_of(network, seed=1), "global_step": torch.zeros(1)})
    assert report.dropped == ("global_step",) and report.unexpected == ()
    assert str(report).endswith("; dropped global_step")


def test_network_keeps_its_precision(network: nn.Module) -> None:
    state = state_of(network, seed=1)
    load_weights(network.double(), state)
    weight = network.get_parameter("stem.weight")
    assert weight.dtype == torch.float64 and torch.equal(weight, state["stem.weight"].double())


def test_files(tmp_path: Path, network: nn.Module, pretraining_run: Path, downstream_run: Path) -> None:
    truth = torch.load(pretraining_run / "last.ckpt", weights_only=True)["state_dict"]
    report = load_backbone(network, pretraining_run / "last.ckpt")
    assert torch.equal(network.get_parameter("stem.weight"), truth["backbone.stem.weight"])
    assert len(report.loaded) == 7 and len(report.mismatched) == 2  # the classifier has other classes
    with pytest.raises(CheckpointError, match=r"last\.ckpt: The checkpoint of a pre-training run"):
        load_network(network, pretraining_run / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"classifier\.weight: \(2, 8\) here, \(5, 8\) in the network"):
        load_network(network, downstream_run / "last.ckpt")
    network.classifier = nn.Linear(8, 2)
    assert len(load_network(network, downstream_run / "last.ckpt").loaded) == 9


class _Second(nn.Module):
    """SECOND's names, and a last layer, without the network."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.own = {**state, "dense_head.weight": torch.ones(2)}

    def state_dict(self) -> dict[str, Tensor]:  # type: ignore[override]
        return dict(self.own)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:  # type: ignore[override]
        self.own = state


def test_pre_training_starts_from_a_detector(
    fake: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = fake.detector_state(seed=4)
    old = {n: torch.movedim(t, 0, -1) if t.dim() == 5 else t for n, t in truth.items()}  # spconv 1.x
    for number, table in enumerate((truth, old)):
        backbone = _Second(fake.second_state(seed=5))
        torch.save({"model_state": table}, path := tmp_path / f"{number}.pth")
        with caplog.at_level("INFO"):
            report = load_start(backbone, path)
        assert (len(report.loaded), report.missing) == (156, ("dense_head.weight",))
        assert f"{path}: weights 156 loaded, 1 missing (dense_head.weight), 6 unexpected" in caplog.text
        assert all(torch.equal(backbone.own[name], truth[name]) for name in fake.second_shapes())
        assert torch.equal(backbone.own["dense_head.weight"], torch.ones(2))
    torch.save({"model_state": {**truth, "backbone_3d.conv_out.1.bias": torch.ones(3)}}, path)
    with pytest.raises(CheckpointError, match=r"1 of another shape \(backbone_3d\.conv_out\.1\.bias: \(3,\)"):
        load_start(_Second(fake.second_state(thin=False)), path)


def test_pre_trained_minkunet_becomes_a_segmentation_network(tmp_path: Path) -> None:
    pretrained = build_backbone("MinkUNet18", in_channels=1, out_channels=128)
    torch.save({f"backbone.{k}": v for k, v in pretrained.state_dict().items()}, tmp_path / "p.ckpt")
    net = build_backbone("MinkUNet18", in_channels=1, out_channels=17)
    report = load_backbone(net, tmp_path / "p.ckpt")
    assert len(report.loaded) == 288 and len(report.mismatched) == 2 and not report.unexpected
    own, truth = net.state_dict(), pretrained.state_dict()
    assert all(torch.equal(own[name], truth[name]) for name in report.loaded)
    other = build_backbone("MinkUNet18", in_channels=4, out_channels=17)
    with pytest.raises(CheckpointError, match=r"stem\.0\.kernel: \(27, 1, 32\) here, \(27, 4, 32\)"):
        load_backbone(other, tmp_path / "p.ckpt")
