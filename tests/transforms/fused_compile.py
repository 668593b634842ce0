"""Run by test_fused.py: compile every kernel of the transforms for a GPU; prints what the code holds."""

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from also_selfsup.transforms import fused_kernels, fused_points, fused_voxels

FLOATS = {"pos", "intensities", "sensor", "cosines", "sines", "draws", "floats"}
INT32 = {"lists", "tables", "coords"}
REAL = {"size_x", "size_y", "size_z", "limit", "nearest", "distance"}
WHOLE = {"count", "side", "scan_count", "most_points", "most_behind", "most_free", "most", "places"}
WHOLE |= {"query_places"}
CONSTANTS = {"E": 256, "L": 16}
SUMMED = {"E": 1024}
BARE = {"LABELS": False, "ROTATE": False, "FLIP": False, "VOXELS": False}
FULL = {"LABELS": True, "ROTATE": True, "FLIP": True, "VOXELS": True}
INPUTS = {"C": 4, "AT_POS": 1, "AT_INTENSITY": 8}
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("cell_keys", fused_kernels.cell_keys, {}),
    ("mark_kept", fused_kernels.mark_kept, SUMMED),
    ("list_kept", fused_kernels.list_kept, SUMMED),
    ("choose_points", fused_points.choose_points, {**INPUTS, **FULL}),
    ("choose_points, bare", fused_points.choose_points, {**INPUTS, **BARE}),
    ("count_voxels", fused_voxels.count_voxels, SUMMED),
    ("write_voxels", fused_voxels.write_voxels, {**SUMMED, **INPUTS}),
]


def kind_of(name: str) -> str:
    if name in FLOATS:
        return "*fp32"
    if name == "marks":
        return "*i8"
    if name in INT32:
        return "*i32"
    if name in REAL:
        return "fp32"
    return "i32" if name in WHOLE else "*i64"


def main() -> None:
    found = {}
    for title, kernel, more in CASES:
        constants = {n: v for n, v in {**CONSTANTS, **more}.items() if n in kernel.arg_names}
        signature = {n: "constexpr" if n in constants else kind_of(n) for n in kernel.arg_names}
        source = ASTSource(kernel, signature, {(kernel.arg_names.index(n),): v for n, v in constants.items()})
        code = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
        found[title] = {word: code.count(word) for word in ("div.rn", "div.full", "sqrt.approx")}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
