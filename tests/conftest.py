"""What several test folders share: real scans, checks of Triton kernels, one thread a worker."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

# Several pytest workers share the cores: more threads each would only make them wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans in their native layouts, beside the checkout; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}")
    return folder


@pytest.fixture(scope="session")
def answers_of() -> Callable[..., Any]:
    """Run a script of checks of Triton kernels in a process of its own: what it prints, read as JSON."""
    pytest.importorskip("triton", reason="Triton is in the dev extra, on Linux")

    # Such a script may use the modules beside this one.
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]

    def run(script: Path, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
