"""Whether a network trains whole, and whether it is still the one that was looked at."""

from pathlib import Path

import torch
from torch import nn

from also_selfsup.networks import build_backbone
from also_selfsup.networks.backbone import Backbone, freeze_but_classifier, replace_classifier
from also_selfsup.sparseconv.native.gpu.recording import Recorder
from also_selfsup.sparseconv.native.gpu.structure import Structure, gradients_are_awaited


def _network() -> Backbone:
    network = build_backbone("MinkUNet18", in_channels=1, out_channels=4, framework="native")
    assert isinstance(network, Backbone)
    return network


def test_a_network_trains_whole_or_not() -> None:
    network = _network().train()
    found = Structure(network)
    assert found.trained_whole() is True
    network.eval()
    assert found.trained_whole() is False
    network.train()
    freeze_but_classifier(network)
    assert found.trained_whole() is False
    assert Structure(_network().double()).trained_whole() is False
    assert Structure(nn.SyncBatchNorm.convert_sync_batchnorm(_network())).trained_whole() is False


def test_an_exchanged_module_or_parameter_is_seen() -> None:
    network = _network().train()
    found = Structure(network)
    replace_classifier(network, 7)
    assert found.trained_whole() is None
    found = Structure(network)
    assert found.trained_whole() is True
    layer = network.classifier[0]
    layer.weight = nn.Parameter(torch.zeros(7, 96))
    assert found.trained_whole() is None
    found = Structure(network)
    network.extra = nn.Linear(2, 2)
    assert found.trained_whole() is None
    found = Structure(network)
    network.extra.register_module("inner", nn.ReLU())
    assert found.trained_whole() is None


def test_one_frozen_parameter_or_evaluated_module_is_seen() -> None:
    network = _network().train()
    found = Structure(network)
    last = found.parameters[-1].requires_grad_(False)
    assert found.trained_whole() is False
    last.requires_grad_(True)
    *_, norm = (module for module in network.modules() if isinstance(module, nn.BatchNorm1d))
    norm.eval()
    assert found.trained_whole() is False
    norm.train()
    assert found.trained_whole() is True
    last.data = last.data.double()
    assert found.trained_whole() is False


def test_room_is_made_by_what_the_last_pass_found() -> None:
    network, recorder = _network().eval(), Recorder()
    assert not recorder.expects(network)
    assert recorder.expects(network.train())
    assert not recorder.expects(network.eval())
    freeze_but_classifier(network.train())
    assert recorder.trained_whole(network) is None
    assert not recorder.expects(network)


def test_hooks_wait_for_gradients_in_a_group_of_one_process_too(tmp_path: Path) -> None:
    assert not gradients_are_awaited()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    try:
        assert gradients_are_awaited()
    finally:
        torch.distributed.destroy_process_group()
