"""Readers of the scan files that a folder may hold, by the ending of their names."""

from collections.abc import Callable
from pathlib import Path

from also_selfsup.data.readers.feather import read_feather
from also_selfsup.data.readers.las import read_las
from also_selfsup.data.readers.numpy_files import read_npy, read_npz
from also_selfsup.data.readers.pcd import read_pcd
from also_selfsup.data.readers.ply import read_ply
from also_selfsup.data.readers.records import read_records
from also_selfsup.data.readers.table import Table

# Longer endings first: `.pcd.bin` is nuScenes' and no `.bin` of KITTI.
READERS: dict[str, Callable[[Path], Table]] = {
    ".pcd.bin": read_records,
    ".bin": read_records,
    ".pcd": read_pcd,
    ".npy": read_npy,
    ".npz": read_npz,
    ".ply": read_ply,
    ".las": read_las,
    ".laz": read_las,
    ".feather": read_feather,
}
# Endings of files without any header.
RAW_KINDS = (".pcd.bin", ".bin")


def kind_of(name: str) -> str | None:
    """The ending of a scan file's name, or None if it is none."""
    lower = name.lower()
    return next((kind for kind in READERS if lower.endswith(kind)), None)
