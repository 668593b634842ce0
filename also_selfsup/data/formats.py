"""Where a file becomes arrays: bytes of the known formats, units, and refusal of what is not a scan.

n points of one scan. Every refusal is a `ScanError`, which names the file, what was found and what to do.
"""

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from also_selfsup.settings.names import UserError

# No automotive lidar measures this far; a damaged file passes such a limit almost surely.
LARGEST_COORDINATE = 1000.0
# Raw return strengths come as fractions, 8-bit or 16-bit numbers.
LARGEST_INTENSITY = 65535.0
LFS_SIGNATURE = b"version https://git-lfs.github.com/spec/"

Points = tuple[NDArray[np.float32], NDArray[np.float32]]


class ScanError(UserError):
    """A file that cannot be read as the scan, or the labels, that it should be.

    Attributes:
        file: The file.
        finding: What was found in it.
        cure: What to do about it.
    """

    def __init__(self, file: str | Path, finding: str = "", cure: str = "") -> None:
        # A loader worker's exception is made anew from its message alone, hence the two defaults.
        self.file, self.finding, self.cure = str(file), finding, cure
        said = ". ".join(part for part in (finding, cure) if part)
        super().__init__(f"{file}: {said}." if said else str(file))


def read_kitti_points(path: Path) -> Points:
    """Read a `.bin` scan of KITTI and its like: float32 x, y, z, intensity in [0, 1].

    Returns:
        Positions (n, 3), metres, and intensities (n, 1), as they stand in the file.

    Raises:
        ScanError: The file is missing or not such a scan.
    """
    points = _read_points(path, columns=4)
    return points[:, :3], points[:, 3:]


def read_nuscenes_points(path: Path) -> Points:
    """Read a `.pcd.bin` scan of nuScenes: float32 x, y, z, intensity in [0, 255], ring.

    Returns:
        Positions (n, 3), metres, and intensities (n, 1), divided by 255; the ring is left out.

    Raises:
        ScanError: The file is missing or not such a scan.
    """
    points = _read_points(path, columns=5)
    return points[:, :3], points[:, 3:4] / np.float32(255)


def read_uint8_labels(path: Path, *, count: int) -> NDArray[np.uint8]:
    """Read a lidarseg `.bin` file: one uint8 class for each of the `count` points of its scan.

    Raises:
        ScanError: The file is missing, or has another number of labels.
    """
    raw: NDArray[np.uint8] = _read_values(path, "<u1", count=count)
    return raw


def read_semantic_labels(path: Path, *, count: int) -> NDArray[np.uint32]:
    """Read a `.label` file: uint32, class in the low 16 bits, instance in the high ones.

    Returns:
        The classes (n,); instances are left out.

    Raises:
        ScanError: The file is missing, or has another number of labels than `count`.
    """
    raw: NDArray[np.uint32] = _read_values(path, "<u4", count=count)
    return raw & np.uint32(0xFFFF)


def scale_intensities(
    raw: NDArray[np.float32], *, path: Path, scale: float, clips: bool = False
) -> NDArray[np.float32]:
    """Divide the intensities (n, 1) of a file by `scale`, for values in [0, 1].

    Args:
        raw: As they stand in the file.
        path: The file, for the message.
        scale: The largest value that there should be.
        clips: Larger values become 1, negative ones 0; otherwise they are refused.

    Raises:
        ScanError: Values outside [0, scale], and `clips` is off.
    """
    least, largest = float(raw.min()), float(raw.max())
    if not clips and not 0 <= least <= largest <= scale:
        finding = (
            f"its intensities reach from {least:.4g} to {largest:.4g}, they should lie in 0 to {scale:g}"
        )
        raise ScanError(path, finding, "Set cfg.data.intensity_scale to the largest value of the sensor")
    scaled = raw if scale == 1 else raw / np.float32(scale)
    return np.clip(scaled, 0, 1) if clips else scaled


def count_points(path: Path, *, columns: int) -> int:
    """Tell the number of points of a scan with `columns` float32 values a point, from the file's size.

    Raises:
        ScanError: The file is missing or its size is no whole number of points.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from None
    check_length(path, size, record=4 * columns)
    return size // (4 * columns)


def _read_points(path: Path, *, columns: int) -> NDArray[np.float32]:
    data = read_bytes(path)
    check_length(path, len(data), record=4 * columns)
    return check_points(path, np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(-1, columns))


def check_points(path: Path, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Answer the points (n, 4 or more: x, y, z, intensity, ...) of a file, n > 0, if a sensor may give them.

    Raises:
        ScanError: NaN, infinity, values beyond any lidar's, or nothing but zeros.
    """
    # One look at all values settles it for a sound scan: NaN fails the comparison too.
    if not max(float(points.max()), -float(points.min())) <= LARGEST_COORDINATE:
        _check_values(path, points)
    if not points[0, :3].any() and not points[:, :3].any():  # the first of a sound scan mostly settles it
        cure = "The sensor returned nothing: leave the file out, or set cfg.data.on_bad_scan=skip"
        raise ScanError(path, f"all {len(points)} points are (0, 0, 0)", cure)
    return points


def _check_values(path: Path, points: NDArray[np.float32]) -> None:
    """Refuse values that no sensor writes; points (n, 4 or more)."""
    cure = "The file is damaged or of another format: fetch it again"
    bad = np.count_nonzero(~np.isfinite(points).all(axis=1))
    if bad:
        raise ScanError(path, f"{bad} of {len(points)} points have values that are NaN or infinite", cure)
    for name, values, limit, unit in (
        ("a coordinate", points[:, :3], LARGEST_COORDINATE, " m"),
        ("an intensity", points[:, 3], LARGEST_INTENSITY, ""),
    ):
        largest = np.abs(values).max()
        if largest > limit:
            finding = f"{name} of {largest:.4g}{unit} is beyond any lidar's (limit {limit:g}{unit})"
            raise ScanError(path, finding, cure)


def _read_values(path: Path, dtype: DTypeLike, *, count: int) -> NDArray:  # type: ignore[type-arg]
    data = read_bytes(path)
    size = np.dtype(dtype).itemsize
    if len(data) != count * size:
        finding = f"{len(data)} bytes make {len(data) / size:g} labels, the scan has {count} points"
        raise ScanError(path, finding, "Scan and labels must be whole and of one release: fetch both again")
    return np.frombuffer(data, dtype)


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        ScanError: It is missing, may not be read, or is a Git LFS pointer.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    if data.startswith(LFS_SIGNATURE):
        finding = "this is a Git LFS pointer, not the file itself"
        raise ScanError(path, finding, "Run `git lfs pull` where the data came from")
    return data


def _unreadable(path: Path, error: OSError) -> ScanError:
    if isinstance(error, FileNotFoundError):
        cure = "Fetch it, check cfg.dataset_root, or leave such frames out with cfg.data.on_bad_scan=skip"
        return ScanError(path, "there is no such file", cure)
    return ScanError(path, f"cannot be read ({error.strerror})", "Check the file, its rights and its disk")


def check_length(path: Path, size: int, *, record: int, of: str = "points") -> None:
    """Refuse a file of `size` bytes that is no whole number of records (named by `of`) of `record` bytes.

    Raises:
        ScanError: It is empty, or not such a file.
    """
    if size == 0:
        raise ScanError(path, "the file is empty", "Fetch it again")
    if size % record:
        finding = f"{size} bytes are no whole number of {of} of {record} bytes"
        raise ScanError(path, finding, "The file is cut short or of another format: fetch it again")
