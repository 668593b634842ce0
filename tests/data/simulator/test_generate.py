"""`simulate` and its command: same bytes by seed, whatever the workers; what is refused."""

import hashlib
from pathlib import Path

import pytest

from also_selfsup.data.simulator import simulate
from also_selfsup.data.simulator.__main__ import main, scene_counts
from also_selfsup.data.simulator.generate import spread

SMALL = {"frames_per_scene": 1, "azimuth_steps": 16}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "simulated.json")
    return {str(path.relative_to(root)): hashlib.sha1(path.read_bytes()).hexdigest() for path in files}


def test_the_seed_fixes_every_byte_whatever_the_workers(tmp_path: Path) -> None:
    one = digest(simulate(tmp_path / "one", scenes=3, seed=1, **SMALL))
    two = digest(simulate(tmp_path / "two", scenes=3, seed=1, workers=2, **SMALL))
    other = digest(simulate(tmp_path / "other", scenes=3, seed=2, **SMALL))
    assert len(one) == 14 + 2 * 3
    assert one == two
    assert not set(one.values()) & {h for name, h in other.items() if name.endswith(".bin")}


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = digest(simulate(tmp_path / "few", scenes={"train": 1}, **SMALL))
    more = digest(simulate(tmp_path / "more", scenes={"train": 2}, **SMALL))
    scans = {name: value for name, value in few.items() if name.endswith(".bin")}
    assert len(scans) == 2 and scans.items() <= more.items()


def test_only_an_earlier_simulation_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileExistsError, match="not empty.*--overwrite"):
        simulate(tmp_path, scenes=1, **SMALL)
    with pytest.raises(FileExistsError, match="only an earlier simulation"):
        simulate(tmp_path, scenes=1, overwrite=True, **SMALL)
    assert (tmp_path / "photos").is_dir()
    root = simulate(tmp_path / "mine", scenes=1, **SMALL)
    before = digest(root)
    with pytest.raises(FileExistsError):
        simulate(root, scenes=1, **SMALL)
    (root / "samples" / "left over").write_text("x")
    assert digest(simulate(root, scenes=1, overwrite=True, **SMALL)) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layout": "nuscene"}, "layout 'nuscene'.*semantickitti.*nuscenes"),
        ({"sensor": "hdl32"}, "sensor 'hdl32'.*hdl64e"),
        ({"version": "v1.0-test"}, "version of nuscenes 'v1.0-test'.*v1.0-mini"),
        ({"scenes": {"training": 1}}, "split of v1.0-trainval 'training'.*verifying"),
        ({"scenes": {"val": 151}}, "val has 150 scenes, 151 were asked for"),
        ({"scenes": 0}, "scenes=0"),
        ({"frames_per_scene": 0}, "frames_per_scene=0"),
        ({"azimuth_steps": 0}, "azimuth_steps=0"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_wrong_values_are_named_before_anything_is_written(tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path / "new", **{**SMALL, **wrong})
    assert not (tmp_path / "new").exists()


def test_a_total_is_spread_over_the_splits() -> None:
    shares = {"train": 0.5, "verifying": 0.2, "val": 0.3}
    assert spread(1, shares) == {"train": 1, "verifying": 0, "val": 0}
    assert spread(3, shares) == {"train": 1, "verifying": 1, "val": 1}
    assert spread(20, shares) == {"train": 10, "verifying": 4, "val": 6}


def test_the_command_simulates_and_names_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "new"
    words = [
        "--root",
        str(root),
        "--scenes",
        "mini_train=1",
        "--version",
        "v1.0-mini",
        "--frames-per-scene",
        "1",
    ]
    words += ["--azimuth-steps", "16", "--sensor", "hdl64e", "--workers", "1"]
    assert main(words) == 0
    assert (root / "v1.0-mini" / "sample.json").is_file() and (root / "simulated.json").is_file()
    assert len(list((root / "samples" / "LIDAR_TOP").iterdir())) == 1
    assert main(words) == 2
    assert "not empty" in capsys.readouterr().err
    assert scene_counts("train=2, val=1") == {"train": 2, "val": 1}
    with pytest.raises(ValueError, match="--scenes 'many'"):
        scene_counts("many")
