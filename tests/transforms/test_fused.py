"""The GPU's transforms against those of the CPU: in the interpreter, compiled, on a GPU if there is one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("triton", reason="Triton is in the dev extra, on Linux")
HERE = Path(__file__).parent
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module", params=DEVICES)
def found(request: pytest.FixtureRequest, answers_of: Callable[..., Any]) -> dict[str, Any]:
    """What is exact was asserted there; what is random is figures here."""
    result: dict[str, Any] = answers_of(HERE / "fused_checks.py", "--device", str(request.param))
    return result


def test_permutations_follow_their_formula(found: dict[str, Any], numpy_permutation: Any) -> None:
    assert len(found["permutations"]) == 6
    for case in found["permutations"]:
        expected = numpy_permutation(case["count"], np.array([case["key"]]))[0]
        assert case["places"] == expected.tolist()


def test_a_batch_costs_the_host_little(found: dict[str, Any]) -> None:
    assert found["counts"] in (None, {"launches": 6, "torch": 32})


def test_queries_lie_uniformly_near_their_points(found: dict[str, Any]) -> None:
    for kind in ("in", "out"):
        assert stats.kstest(np.clip(found["u"][kind], 0, 1), "uniform").pvalue > 1e-4


def test_scans_are_turned_and_mirrored_on_their_own(found: dict[str, Any]) -> None:
    assert len({move["angle"] for move in found["moves"]}) == len(found["moves"]) >= 8
    assert len({move["mirrored"] for move in found["moves"]}) == 2


def test_points_kept_are_a_random_part_in_random_order(found: dict[str, Any]) -> None:
    places = {row: place for place, row in enumerate(found["decimated"])}
    for kept in found["kept"]:
        order = np.array([places[row] for row in kept]) / len(places)
        assert len(order) == 400 < len(places)
        assert stats.kstest(order, "uniform").pvalue > 1e-4
        assert abs(stats.spearmanr(np.arange(400), order).statistic) < 0.2
    assert found["kept"][0] != found["kept"][1]


def test_kernels_compile_for_a_gpu(answers_of: Callable[..., Any]) -> None:
    """The interpreter takes what the compiler refuses; this needs no GPU."""
    kernels = answers_of(HERE / "fused_compile.py")
    assert len(kernels) == 7
    # Divisions and roots that decide about cells are IEEE's, not the fast ones.
    assert kernels["cell_keys"]["div.rn"] > 0 and kernels["choose_points"]["div.rn"] > 0
    assert all(found["div.full"] == found["sqrt.approx"] == 0 for found in kernels.values())
