"""Simulated scenes in nuScenes' native layout: 14 tables, LIDAR_TOP key frames, lidarseg.

Points are x y z intensity(0-255) ring in float32, sensor frame with y to the front and x to the right. The tables are
those that nuscenes-devkit opens; there are no cameras, radars or sweeps, and the map's mask has an empty file name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from also_selfsup.data.simulator.job import SceneJob
from also_selfsup.data.simulator.kinds import FACTS, NUSCENES_CATEGORIES, NUSCENES_IDS, Kind
from also_selfsup.data.simulator.nuscenes_names import SCENE_NUMBERS, fixed_token
from also_selfsup.data.simulator.scene import Frame, Scene
from also_selfsup.data.simulator.sensors import SENSORS

Tables = dict[str, list[dict[str, Any]]]

SENSOR = SENSORS["hdl32e"]
INTERVAL = 0.5
SPLITS = {"train": 0.5, "verifying": 0.2, "val": 0.3}
DEFAULT_VERSION = "v1.0-trainval"
START = 1_533_100_000_000_000
ATTRIBUTES = ("vehicle.moving", "vehicle.stopped", "pedestrian.moving", "pedestrian.standing", "cycle.with_rider",
              "cycle.without_rider")  # fmt: skip
VISIBILITIES = ("v0-40", "v40-60", "v60-80", "v80-100")


def names(split: str, count: int, *, version: str) -> list[str]:
    """Names of `count` scenes that the official splits put into `split`.

    Raises:
        ValueError: The version has no such split, or not that many scenes.
    """
    known = SCENE_NUMBERS.get(version)
    if known is None:
        raise ValueError(
            f"version={version!r} cannot be simulated: choose one of {', '.join(sorted(SCENE_NUMBERS))}."
        )
    if split not in known:
        raise ValueError(f"{version} has no split {split!r}: choose one of {', '.join(sorted(known))}.")
    if count > len(known[split]):
        raise ValueError(
            f"{version} {split} has {len(known[split])} scenes, {count} were asked for: ask for fewer."
        )
    return [f"scene-{number:04d}" for number in known[split][:count]]


def write_scene(root: Path, job: SceneJob) -> Tables:
    """Simulate a scene, write its scans and labels, and answer its rows of the tables."""
    scene = job.scene()
    tables: Tables = {
        name: [] for name in ("sample", "sample_data", "ego_pose", "lidarseg", "sample_annotation")
    }
    tokens = {key: job.token(key) for key in ("log", "scene", "calibrated_sensor")}
    mounting, offset = scene.drive.mounting(job.sensor)
    tables["calibrated_sensor"] = [{
        "token": tokens["calibrated_sensor"], "sensor_token": fixed_token("sensor"), "translation": offset.tolist(),
        "rotation": quaternion(mounting), "camera_intrinsic": [],
    }]  # fmt: skip
    logfile = f"sim-{job.seed}-{job.index:04d}"
    tables["log"] = [{
        "token": tokens["log"], "logfile": logfile, "vehicle": "simulated", "date_captured": "2018-08-01",
        "location": "simulated-street",
    }]  # fmt: skip
    tables["scene"] = [{
        "token": tokens["scene"], "log_token": tokens["log"], "nbr_samples": job.frames, "name": job.name,
        "first_sample_token": job.token("sample", 0), "last_sample_token": job.token("sample", job.frames - 1),
        "description": "A simulated street",
    }]  # fmt: skip
    for number, frame in enumerate(job.scans(scene)):
        _write_frame(root, job, scene, frame, number, logfile, tables)
    _link_annotations(job, tables)
    return tables


def _write_frame(
    root: Path, job: SceneJob, scene: Scene, frame: Frame, number: int, logfile: str, tables: Tables
) -> None:
    time = round(number * job.interval * 1e6) + job.index * 10**9 + START
    sample, data = job.token("sample", number), job.token("sample_data", number)
    scan_file = f"samples/LIDAR_TOP/{logfile}__LIDAR_TOP__{time}.pcd.bin"
    label_file = f"lidarseg/{job.version}/{data}_lidarseg.bin"
    points(frame).tofile(root / scan_file)
    NUSCENES_IDS[frame.kind].tofile(root / label_file)
    around = {
        name: {way: job.token(name, near) if 0 <= near < job.frames else "" for way, near in
               (("prev", number - 1), ("next", number + 1))}
        for name in ("sample", "sample_data")
    }  # fmt: skip
    rotation, position = scene.drive.pose(scene.street, number * job.interval)
    tables["sample"].append(
        {"token": sample, "timestamp": time, "scene_token": job.token("scene"), **around["sample"]}
    )
    tables["ego_pose"].append(
        {"token": data, "timestamp": time, "rotation": quaternion(rotation), "translation": position.tolist()}
    )
    tables["lidarseg"].append({"token": data, "sample_data_token": data, "filename": label_file})
    tables["sample_data"].append({
        "token": data, "sample_token": sample, "ego_pose_token": data, "timestamp": time, "fileformat": "pcd",
        "calibrated_sensor_token": job.token("calibrated_sensor"), "is_key_frame": True, "height": 0, "width": 0,
        "filename": scan_file, **around["sample_data"],
    })  # fmt: skip
    tables["sample_annotation"] += _annotations(job, scene, frame, number)


def points(frame: Frame) -> NDArray[np.float32]:
    """Rows (N, 5) of a scan file: diffuse returns up to about 100, retro-reflectors above, as the HDL-32E reports them."""
    retro = frame.strength > 1
    intensity = np.where(retro, 100 + 60 * frame.strength, np.minimum(frame.strength * 100, 100))
    nothing = frame.kind == Kind.NOTHING
    # What comes back from nothing has some faint strength in the real files as well.
    faint = np.arange(len(nothing)) * 7919 % 31
    intensity = np.clip(np.round(np.where(nothing, faint, intensity)), 0, 255)
    return np.concatenate([frame.pos, intensity[:, None], frame.ring[:, None]], axis=1).astype("<f4")


def _annotations(job: SceneJob, scene: Scene, frame: Frame, number: int) -> list[dict[str, Any]]:
    """Boxes of the objects that have at least one point in the frame."""
    objects, (position, heading) = scene.world.objects, scene.object_poses(number * job.interval)
    counts = np.bincount(frame.object[frame.object >= 0], minlength=len(objects))
    moving = scene.moving()
    rows = []
    for row in np.flatnonzero(counts):
        kind = Kind(int(objects["kind"][row]))
        category = FACTS[kind].category
        if category is None:
            continue
        length, width, height = (float(v) for v in objects["size"][row])
        middle = position[row] + np.array([0, 0, height / 2])
        rows.append({
            "token": job.token("annotation", row, number), "sample_token": job.token("sample", number),
            "instance_token": job.token("instance", row), "visibility_token": str(min(4, 1 + int(counts[row]) // 10)),
            "attribute_tokens": _attribute(kind, category, bool(moving[row])), "translation": middle.tolist(),
            "size": [width, length, height], "rotation": [float(np.cos(heading[row] / 2)), 0.0, 0.0, float(np.sin(heading[row] / 2))],
            "prev": "", "next": "", "num_lidar_pts": int(counts[row]), "num_radar_pts": 0, "category": category,
        })  # fmt: skip
    return rows


def _attribute(kind: Kind, category: str, moving: bool) -> list[str]:
    if category.startswith("human"):
        return [fixed_token("pedestrian.moving" if moving else "pedestrian.standing")]
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        ridden = kind in (Kind.BICYCLIST, Kind.MOTORCYCLIST)
        return [fixed_token("cycle.with_rider" if ridden else "cycle.without_rider")]
    if category.startswith("vehicle"):
        return [fixed_token("vehicle.moving" if moving else "vehicle.stopped")]
    return []


def _link_annotations(job: SceneJob, tables: Tables) -> None:
    """Chain each instance's annotations and add the instance table."""
    chains: dict[str, list[dict[str, Any]]] = {}
    for row in tables["sample_annotation"]:
        chains.setdefault(row["instance_token"], []).append(row)
    tables["instance"] = []
    for token, chain in chains.items():
        for before, after in zip(chain, chain[1:], strict=False):
            before["next"], after["prev"] = after["token"], before["token"]
        tables["instance"].append({
            "token": token, "category_token": fixed_token(chain[0]["category"]), "nbr_annotations": len(chain),
            "first_annotation_token": chain[0]["token"], "last_annotation_token": chain[-1]["token"],
        })  # fmt: skip
    for row in tables["sample_annotation"]:
        del row["category"]


def quaternion(matrix: NDArray[np.float64]) -> list[float]:
    """Unit quaternion w x y z of a rotation matrix (3, 3)."""
    x, y, z, w = Rotation.from_matrix(matrix).as_quat().tolist()
    return [w, x, y, z]


def prepare(root: Path, *, version: str) -> None:
    """Make the folders."""
    for folder in ("samples/LIDAR_TOP", f"lidarseg/{version}", version):
        (root / folder).mkdir(parents=True, exist_ok=True)


def finish(root: Path, results: Sequence[Tables], *, version: str) -> None:
    """Write the tables: the scenes' rows in order, and those that do not depend on the scenes."""
    names_ = (
        "calibrated_sensor",
        "ego_pose",
        "instance",
        "lidarseg",
        "log",
        "sample",
        "sample_annotation",
        "sample_data",
        "scene",
    )
    tables: Tables = {name: [row for result in results for row in result[name]] for name in names_}
    tables["category"] = [
        {"token": fixed_token(name), "name": name, "description": "", "index": number}
        for number, name in enumerate(NUSCENES_CATEGORIES)
    ]
    tables["sensor"] = [{"token": fixed_token("sensor"), "channel": "LIDAR_TOP", "modality": "lidar"}]
    tables["attribute"] = [
        {"token": fixed_token(name), "name": name, "description": ""} for name in ATTRIBUTES
    ]
    tables["visibility"] = [
        {"token": str(number), "level": level, "description": ""}
        for number, level in enumerate(VISIBILITIES, start=1)
    ]
    logs = [row["token"] for row in tables["log"]]
    tables["map"] = [
        {"token": fixed_token("map"), "category": "semantic_prior", "filename": "", "log_tokens": logs}
    ]
    for name, rows in tables.items():
        (root / version / f"{name}.json").write_text(json.dumps(rows))
