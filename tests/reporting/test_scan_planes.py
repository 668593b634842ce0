"""Planes that fit any scan, and answers that leave the network as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from also_selfsup.data.examination import ground_height
from also_selfsup.data.scan import Scan
from also_selfsup.reporting.occupancy import ask_planes
from also_selfsup.reporting.scan_planes import CHUNK, ask, planes_of
from also_selfsup.settings.run import load
from also_selfsup.training.pretraining import PretrainingModule


def scan_of(pos: NDArray[np.float64], sensor: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Scan:
    points = pos.astype(np.float32)
    return Scan(
        pos=points,
        intensities=np.full((len(points), 1), 0.5, np.float32),
        sensor=np.array(sensor, np.float32),
        name="a",
    )


@pytest.fixture(scope="module")
def street() -> Scan:
    """Ground at -1.7 m along x, a wall of 4 m on one side."""
    random = np.random.default_rng(0)
    ground = random.uniform((-40, -8, -1.72), (40, 8, -1.68), (900, 3))
    wall = random.uniform((-30, 8, -1.7), (30, 8.1, 2.3), (300, 3))
    return scan_of(np.concatenate([ground, wall]))


def test_slices_lie_by_the_ground_and_along_the_street(street: Scan) -> None:
    assert ground_height(street.pos, street.sensor) == pytest.approx(-1.7, abs=0.02)
    level, upright = planes_of(street)
    assert level.across == "z" and level.at == pytest.approx(-0.9, abs=0.03)
    assert (level.horizontal, level.vertical) == ((-20, 20), (-20, 20))
    assert upright.across == "y" and upright.at == 0.0 and upright.vertical[0] < -1.7 < upright.vertical[1]
    turned = replace(street, pos=street.pos[:, [1, 0, 2]].copy())
    assert planes_of(turned)[1].across == "x"


def test_slices_stay_in_what_the_network_sees(street: Scan) -> None:
    level, upright = planes_of(street, extent=[0, -40, -3, 70.4, 40, 1])
    assert level.horizontal == upright.horizontal == (0, 40) and level.vertical == (-20, 20)
    beside = planes_of(replace(street, sensor=np.array([9, 2, 1], np.float32)))
    assert beside[0].horizontal == (-11, 29) and beside[1].at == 2.0


def test_a_scan_of_one_point() -> None:
    level, upright = planes_of(scan_of(np.array([[0.5, 0.0, -1.0]])))
    assert level.at == pytest.approx(-0.2) and upright.shape[0] > 1


@pytest.mark.parametrize("double", [False, True])
def test_answers_are_those_of_ask_planes_and_leave_no_trace(street: Scan, double: bool) -> None:
    module = PretrainingModule(load("demo", ["cfg.network.latent_size=8", "cfg.manifold_points=300"]))
    module.decoder.limit = 10**6  # so that the answer does not depend on a draw of supports
    module.train()
    module.backbone.eval()  # as a frozen part is
    modes = [part.training for part in module.modules()]
    module = module.double() if double else module
    planes, looks = planes_of(street), []
    before = torch.get_rng_state()
    answers = ask(module, street, planes, check=lambda: looks.append(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert [part.training for part in module.modules()] == modes
    assert all(parameter.grad is None for parameter in module.parameters())
    sizes = [plane.shape[0] * plane.shape[1] for plane in planes]
    assert len(looks) == 1 + sum(-(-size // CHUNK) for size in sizes)
    for answer, plane in zip(answers, planes, strict=True):
        assert answer.shape == plane.shape and np.nanmin(answer) >= 0 and np.nanmax(answer) <= 1
    if not double:  # in which points fall into other cells
        for answer, expected in zip(answers, ask_planes(module, street, planes), strict=True):
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


def test_modes_come_back_when_time_is_over(street: Scan) -> None:
    module = PretrainingModule(load("demo", ["cfg.network.latent_size=8"])).train()

    def check() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        ask(module, street, planes_of(street), check=check)
    assert all(part.training for part in module.modules())
