"""Frozen is frozen: weights, batch-norm statistics and dropout; and the classifier can be another."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from also_selfsup.networks import deepen_classifier, freeze_but_classifier, replace_classifier

Make = Callable[..., Any]


@pytest.mark.parametrize("name", ["MinkUNet18SC", "SPVCNN"])
def test_only_the_classifier_moves(name: str, make_batch: Make, make_net: Make) -> None:
    net, batch = freeze_but_classifier(make_net(name)), make_batch()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    # A module around the network, as in training, that goes back and forth between its modes.
    wrapper = nn.Sequential(net)
    wrapper.train().eval()
    wrapper.train()
    optimiser = torch.optim.SGD([value for value in net.parameters() if value.requires_grad], lr=0.1)
    for _ in range(2):
        net(batch)["latents"].square().mean().backward()
        optimiser.step()
    moved = {key for key, value in net.state_dict().items() if not value.equal(before[key])}
    assert moved == {"classifier.0.weight", "classifier.0.bias"}
    assert net.training and net.classifier.training
    assert all(
        value.grad is None for key, value in net.named_parameters() if not key.startswith("classifier")
    )
    assert net(batch)["latents"].equal(net.eval()(batch)["latents"])


def test_an_ordinary_network_does_move_its_statistics(make_batch: Make, make_net: Make) -> None:
    net, batch = make_net("MinkUNet18SC").train(), make_batch()
    before = net.state_dict()["stem.1.running_mean"].clone()
    net(batch)
    assert not net.state_dict()["stem.1.running_mean"].equal(before)


def test_another_classifier_for_other_classes(make_batch: Make, make_net: Make) -> None:
    net, batch = make_net("MinkUNet18SC"), make_batch()
    stem = net.state_dict()["stem.0.kernel"].clone()
    assert replace_classifier(net, 17)(batch)["latents"].shape == (130, 17)
    assert net.state_dict()["stem.0.kernel"].equal(stem)
    expected = make_net("MinkUNet18SC", out_channels=17).state_dict()
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in expected.items()}


def test_a_hidden_layer_before_the_classifier(make_batch: Make, make_net: Make) -> None:
    net, batch = make_net("MinkUNet18SC", out_channels=5).eval(), make_batch()
    last = net.classifier[0]
    features = net.encode(batch).detach()
    width = features.shape[1]
    deep = freeze_but_classifier(deepen_classifier(net))
    weights = dict(deep.classifier.named_parameters())
    assert {name: tuple(w.shape) for name, w in weights.items()} == {
        "0.weight": (width, width),
        "0.bias": (width,),
        "2.weight": (5, width),
        "2.bias": (5,),
    }
    assert deep.classifier[2] is last and all(w.requires_grad for w in weights.values())
    hidden = (features @ weights["0.weight"].t() + weights["0.bias"]).clamp(min=0)
    expected = (hidden @ weights["2.weight"].t() + weights["2.bias"])[batch["voxel_to_pc_id"]]
    torch.testing.assert_close(deep(batch)["latents"], expected)
