"""Opening nuScenes: the devkit, our first opening, and our later ones, on tables of the full data set's size.

The tables are made up, with the true number of scenes, samples and `sample_data` rows (12 channels, sweeps
too), and an ego pose for each row. Annotations and instances stay empty, which spares the devkit some work.
Each way runs in a process of its own: seconds, and peak memory above what the imports took.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from also_selfsup.data.nuscenes import official_scenes

SAMPLES = 34_149
# Rows of sample_data for each key frame, about as in the real tables (77 a sample, 2.63 million in all).
CAMERAS = ("FRONT", "FRONT_RIGHT", "BACK_RIGHT", "BACK", "BACK_LEFT", "FRONT_LEFT")
RADARS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")
CHANNELS = {
    "LIDAR_TOP": (10, "pcd", "pcd.bin"),
    **{f"CAM_{side}": (6, "jpg", "jpg") for side in CAMERAS},
    **{f"RADAR_{side}": (7 if side == "FRONT" else 6, "pcd", "pcd") for side in RADARS},
}
MODALITIES = {"LID": "lidar", "CAM": "camera", "RAD": "radar"}
POSE = {
    "rotation": [0.5720320396729045, -0.0016977771610471074, 0.011798001930183783, -0.8201446642457809],
    "translation": [411.3039349319818, 1180.8903791765097, 0.0],
}

WAYS = {
    "devkit": """
from nuscenes.nuscenes import NuScenes
def load():
    data = NuScenes("v1.0-trainval", root, verbose=False)
    return sum("LIDAR_TOP" in sample["data"] for sample in data.sample)
""",
    "ours": """
from also_selfsup.data.nuscenes import NuScenes
def load(): return len(NuScenes(root, "trainval"))
""",
}
MEASURE = """
import resource, sys, time
root = sys.argv[1]
{way}
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
frames = load()
seconds = time.perf_counter() - start
sys.stdout.write(f"{{frames}} {{seconds}} {{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}}")
"""


def main() -> None:
    """Make the tables, open them three ways, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the scenes")
    arguments = parser.parse_args()
    console = Console()
    scene_count = 85 if arguments.quick else 850
    with tempfile.TemporaryDirectory() as folder:
        with console.status("writing the tables"):
            rows, size = write_tables(Path(folder) / "v1.0-trainval", scene_count=scene_count)
        console.print(f"{scene_count} scenes, {rows:,} rows in a sample_data.json of {size / 1e6:,.0f} MB")
        with console.status("opening them"):
            ways = {"devkit": "devkit", "ours, first": "ours", "ours, cached": "ours"}
            results = {label: measure(WAYS[way], folder) for label, way in ways.items()}
        table = Table("", "key frames", "seconds", "peak MB", "times the cached")
        cached = results["ours, cached"][1]
        for label, (frames, seconds, memory) in results.items():
            table.add_row(
                label, str(frames), f"{seconds:.3f}", f"{memory / 1e3:,.0f}", f"{seconds / cached:,.0f}"
            )
        console.print(table)


def measure(way: str, root: str) -> tuple[int, float, int]:
    """Run one way in a process of its own; key frames, seconds, kilobytes at the peak above the imports."""
    code = MEASURE.format(way=way)
    answer = subprocess.run([sys.executable, "-c", code, root], check=True, capture_output=True, text=True)
    frames, seconds, memory = answer.stdout.split()
    return int(frames), float(seconds), int(memory)


def write_tables(tables: Path, *, scene_count: int) -> tuple[int, int]:
    """Write the devkit's 13 tables; rows and bytes of the largest."""
    tables.mkdir(parents=True)
    names = sorted(official_scenes()["trainval"])[:scene_count]
    scenes = [{"token": token(), "name": name, "log_token": "log"} for name in names]
    sensors = [
        {"token": token(), "channel": channel, "modality": MODALITIES[channel[:3]]} for channel in CHANNELS
    ]
    mounts = [[{"token": token(), "sensor_token": sensor["token"]} for sensor in sensors] for _ in scenes]
    samples = [
        {"token": token(), "timestamp": row * 500_000, "scene_token": scenes[row * 850 // SAMPLES]["token"]}
        for row in range(SAMPLES * scene_count // 850)
    ]
    tables_of_rows = {
        **dict.fromkeys(("category", "attribute", "visibility", "instance", "sample_annotation"), []),
        "scene": scenes,
        "sample": samples,
        "sensor": sensors,
        "calibrated_sensor": sum(mounts, []),
        "log": [{"token": "log", "location": "none"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": ""}],
    }
    for name, rows in tables_of_rows.items():
        (tables / f"{name}.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")
    path = tables / "sample_data.json"
    with path.open("w") as data, (tables / "ego_pose.json").open("w") as poses:
        count = 0
        for row, sample in enumerate(samples):
            texts = list(sweeps(sample, mounts[row * 850 // SAMPLES]))
            for file, parts in zip((data, poses), zip(*texts, strict=True), strict=True):
                file.write(("[\n" if row == 0 else ",\n") + ",\n".join(parts))
            count += len(texts)
        data.write("\n]")
        poses.write("\n]")
    return count, path.stat().st_size


def sweeps(sample: dict[str, Any], mount: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Give the rows of sample_data of one sample, each with its row of ego_pose, written as nuScenes does."""
    for (channel, (repeats, form, ending)), calibrated in zip(CHANNELS.items(), mount, strict=True):
        for repeat in range(repeats):
            time, pose = sample["timestamp"] + repeat * 50_000, token()
            folder = "sweeps" if repeat else "samples"
            name = f"{folder}/{channel}/n015-2018-07-24-11-22-45+0800__{channel}__{time:016}.{ending}"
            row = {
                "token": token(),
                "sample_token": sample["token"],
                "ego_pose_token": pose,
                "calibrated_sensor_token": calibrated["token"],
                "timestamp": time,
                "fileformat": form,
                "is_key_frame": repeat == 0,
                "height": 0,
                "width": 0,
                "filename": name,
                "prev": token(),
                "next": token(),
            }
            # A field a line, as nuScenes has it; `indent` would do without the fast encoder.
            yield (
                json.dumps(row, separators=(",\n", ": ")),
                json.dumps({"token": pose, "timestamp": time, **POSE}, separators=(",\n", ": ")),
            )


def token() -> str:
    """Make a token of 32 hexadecimal digits."""
    return f"{random.getrandbits(128):032x}"


if __name__ == "__main__":
    main()
