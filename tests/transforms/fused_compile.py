"""Run by test_fused.py: compile every kernel of the transforms for a GPU; prints what the code holds."""

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from also_selfsup.transforms import fused_kernels, fused_voxels

FLOATS = {
    "pos",
    "intensities",
    "sensor",
    "new_pos",
    "new_intensities",
    "new_sensor",
    "queries",
    "x",
    "voxel_x",
}
FLOATS |= {"query_intensities", "cosines", "sines", "draws"}
INT32 = {"kept_rows", "usable_rows", "tables", "lows", "coords", "numbers"}
REAL = {"size_x", "size_y", "size_z", "limit", "nearest", "distance"}
WHOLE = {
    "count",
    "side",
    "scan_count",
    "most_points",
    "most_behind",
    "most_free",
    "most",
    "places",
    "channels",
}
CONSTANTS = {"E": 256, "L": 16}
BARE = {"labels": None, "new_labels": None, "LABELS": False, "ROTATE": False, "FLIP": False}
FULL = {"LABELS": True, "ROTATE": True, "FLIP": True}
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("cell_keys", fused_kernels.cell_keys, {}),
    ("mark_kept", fused_kernels.mark_kept, {}),
    ("list_kept", fused_kernels.list_kept, {}),
    ("count_all", fused_kernels.count_all, {}),
    ("thin_points", fused_kernels.thin_points, FULL),
    ("thin_points, bare", fused_kernels.thin_points, BARE),
    ("draw_queries", fused_kernels.draw_queries, FULL),
    ("voxel_keys", fused_voxels.voxel_keys, {}),
    ("mark_voxels", fused_voxels.mark_voxels, {}),
    ("write_voxels", fused_voxels.write_voxels, {}),
]


def kind_of(kernel: str, name: str) -> str:
    if name in FLOATS:
        return "*fp32"
    if name in INT32 or (name == "marks" and "voxels" in kernel):
        return "*i32"
    if name in REAL:
        return "fp32"
    return "i32" if name in WHOLE else "*i64"


def main() -> None:
    found = {}
    for title, kernel, more in CASES:
        constants = {n: v for n, v in {**CONSTANTS, **more}.items() if n in kernel.arg_names}
        signature = {n: "constexpr" if n in constants else kind_of(title, n) for n in kernel.arg_names}
        source = ASTSource(kernel, signature, {(kernel.arg_names.index(n),): v for n, v in constants.items()})
        code = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
        found[title] = {word: code.count(word) for word in ("div.rn", "div.full", "sqrt.approx")}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
