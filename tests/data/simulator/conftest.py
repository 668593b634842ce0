"""What the simulator's tests share: a few small simulated data sets and a bare street."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.simulator import SENSORS, simulate
from also_selfsup.data.simulator.drive import Drive
from also_selfsup.data.simulator.ground import Street
from also_selfsup.data.simulator.parts import Thing, assemble
from also_selfsup.data.simulator.scene import Scene, make_scene

STEPS = 128


@pytest.fixture(scope="session")
def nuscenes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four simulated scenes of three frames in nuScenes' layout: two train, one verifying, one val."""
    root = tmp_path_factory.mktemp("nuscenes")
    scenes = {"train": 2, "verifying": 1, "val": 1}
    return simulate(root, scenes=scenes, frames_per_scene=3, seed=5, azimuth_steps=STEPS)


@pytest.fixture(scope="session")
def kitti_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One train and two val scenes of two frames in SemanticKITTI's layout; val is sequence 08 alone."""
    root = tmp_path_factory.mktemp("kitti")
    counts = {"train": 1, "val": 2}
    return simulate(
        root, layout="semantickitti", scenes=counts, frames_per_scene=2, seed=5, azimuth_steps=STEPS
    )


@pytest.fixture(scope="session", params=["hdl32e", "hdl64e", "solid_state"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """A furnished scene for each sensor, with few columns."""
    steps = STEPS // 2 if request.param == "solid_state" else STEPS
    return make_scene(SENSORS[request.param].with_columns(steps), seed=(11, 0), duration=2.0)


def bare_street(*, hills: float = 0.0, kerb: float = 0.0, bank: float = 0.0) -> Street:
    """A straight street of two lanes without anything on it."""
    return Street(
        half_width=5.0, lane_count=2, parking=0.0, verge=1.0, pavement=3.0, setback=1.0,
        kerb=kerb, bend=(0.0, 200.0, 0.0), hills=(hills, 200.0, 0.3), crossings=np.array([60.0]),
        crossing_half_width=4.0, paved_front=False, bank=bank, asphalt=0.2, paving=0.3,
    )  # fmt: skip


def bare_scene(
    things: Sequence[Thing], *, sensor: str = "hdl32e", steps: int = 512, speed: float = 0.0
) -> Scene:
    """Things on a bare street; the ego vehicle drives in the middle, its lidar level."""
    drive = Drive(lane=0.0, speed=speed, weave=(0.0, 0.0), tilt=(0.0, 0.0))
    model = SENSORS[sensor].with_columns(steps)
    return Scene(street=bare_street(), world=assemble(things), drive=drive, sensor=model, seed=(1,))


@pytest.fixture(scope="session")
def make_street() -> Callable[..., Street]:
    """`bare_street`."""
    return bare_street


@pytest.fixture(scope="session")
def put_on_street() -> Callable[..., Scene]:
    """`bare_scene`."""
    return bare_scene
