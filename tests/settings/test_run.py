"""The command line of a script: settings arrive, errors are one message, no folder is littered."""

import subprocess
import sys
from pathlib import Path

import pytest

from also_selfsup.settings import run
from also_selfsup.settings.run import resolve_path

SCRIPT = """
import sys
from also_selfsup.settings.names import UserError
from also_selfsup.settings.run import entry, load

@entry
def main(settings):
    if settings.name == "failing":
        raise UserError("the data set is empty")
    sys.stdout.write(f"{settings.training.batch_size} {load('demo').name}")

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script of our making, alone in a folder."""
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


def start(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, script.name, *words], cwd=script.parent, capture_output=True, text=True, check=False
    )
    assert [file.name for file in script.parent.iterdir() if file.name != "results"] == ["script.py"]
    return done


def test_settings_reach_the_task(script: Path) -> None:
    done = start(script, "cfg=nuscenes", "cfg.training.batch_size=3", "cfg.val_interval=5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 demo", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cfg=nuscenes", "cfg.training.batchsize=3"], "error: cfg.training.batchsize: no such setting."),
        (["cfg=nuscnes"], "error: cfg=nuscnes: no such recipe; choose one of demo, "),
        ([], "error: Say cfg=RECIPE, which is one of demo, "),
        (["cfg=nuscenes", "cfg.name=failing"], "error: the data set is empty"),
    ],
)
def test_error_is_one_line(script: Path, words: list[str], message: str) -> None:
    done = start(script, *words)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_several_runs_in_one_command(script: Path) -> None:
    done = start(script, "-m", "cfg=nuscenes", "cfg.training.batch_size=3,4")
    assert (done.returncode, done.stdout) == (0, "3 demo4 demo")


def test_hydra_options_work(script: Path) -> None:
    done = start(script, "cfg=demo", "cfg.seed=7", "--cfg", "job")
    assert done.returncode == 0 and "  seed: 7\n" in done.stdout and "  name: demo\n" in done.stdout


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert resolve_path("data/x") == tmp_path / "data" / "x"
    assert resolve_path("../x") == tmp_path.parent / "x"
    assert resolve_path("/data") == Path("/data")
    assert resolve_path("~/x") == tmp_path / "home" / "x"
    monkeypatch.chdir(root / "also_selfsup")
    assert resolve_path("data/nuscenes") == root / "data" / "nuscenes"
    assert resolve_path("../data/nuscenes") == root / "data" / "nuscenes"
    assert run.PACKAGE == root / "also_selfsup" and run.CONFIGS == root / "configs"
