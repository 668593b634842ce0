"""Whatever happened to a file, its reader gives a result or a message, runs nothing, opens no other."""

import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FOLDER = Path(__file__).parent / "benchmarks"
KINDS = (
    *("points", "label_files", "nuscenes_tables", "poses", "once_infos", "cache_of_frames"),
    *("checkpoint_files", "converters", "config_files", "command_lines"),
)
EXAMPLES = 30


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The benchmark of this name."""
    sys.path.insert(0, str(FOLDER))
    try:
        import fuzz as module
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.fixture(scope="module")
def targets(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Sound files and their readers; of real scans where there are some beside the checkout."""
    real = Path(__file__).resolve().parents[2] / "shared" / "data"
    return fuzz.Targets(tmp_path_factory.mktemp("fuzz"), real if real.is_dir() else None)


@pytest.fixture(scope="module")
def findings(fuzz: ModuleType) -> Any:
    """Watches the readers."""
    return fuzz.Findings()


def test_every_kind_is_tried(fuzz: ModuleType) -> None:
    assert sorted(fuzz.KINDS) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_or_a_message(kind: str, targets: Any, findings: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(numbers=st.randoms(use_true_random=False))
    def behave(numbers: Any) -> None:
        assert findings.look(lambda: getattr(targets, kind)(numbers)) is None

    behave()


def test_sound_files_are_read(targets: Any, monkeypatch: pytest.MonkeyPatch, fuzz: ModuleType) -> None:
    for name in ("damage", "damage_table"):
        monkeypatch.setattr(fuzz, name, lambda data, numbers: data)
    for kind in KINDS:
        if kind not in ("label_files", "converters", "config_files", "command_lines"):
            assert getattr(targets, kind)(random.Random(1)) is not None, kind


def test_misdeeds_are_seen(findings: Any, targets: Any, fuzz: ModuleType) -> None:
    secret = targets.folder / fuzz.SECRET
    deeds = {
        "os.system": lambda: os.system("true"),
        "subprocess.Popen": lambda: subprocess.run(["true"], check=True),
        "open": secret.read_bytes,
        "ZeroDivisionError": lambda: 1 / 0,
    }
    for name, deed in deeds.items():
        assert name in str(findings.look(deed))
    assert findings.look(lambda: None) is None
