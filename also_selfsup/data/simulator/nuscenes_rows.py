"""Rows of nuScenes' tables for simulated scenes: the 14 tables that nuscenes-devkit opens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from also_selfsup.data.simulator.arrays import Doubles
from also_selfsup.data.simulator.job import SceneJob
from also_selfsup.data.simulator.kinds import FACTS, NUSCENES_CATEGORIES, Kind
from also_selfsup.data.simulator.scene import Frame, Scene

Tables = dict[str, list[dict[str, Any]]]

START = 1_533_100_000_000_000  # microseconds; scenes follow one another by 1000 seconds
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "pedestrian.moving",
    "pedestrian.standing",
    "cycle.with_rider",
    "cycle.without_rider",
)
VISIBILITIES = ("v0-40", "v40-60", "v60-80", "v80-100")


def fixed_token(name: str) -> str:
    """32 hexadecimal digits that name a row which is the same in every simulated data set."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def quaternion(matrix: Doubles) -> list[float]:
    """Unit quaternion w x y z of a rotation matrix (3, 3)."""
    x, y, z, w = Rotation.from_matrix(matrix).as_quat().tolist()
    return [w, x, y, z]


def rows_of_scene(job: SceneJob, scene: Scene) -> Tables:
    """The rows of log, scene and calibrated_sensor."""
    rotation, translation = scene.drive.mounting(job.sensor)
    log = {
        "token": job.token("log"),
        "logfile": f"sim-{job.seed}-{job.index:04d}",
        "vehicle": "simulated",
        "date_captured": "2018-08-01",
        "location": "simulated-street",
    }
    described = {
        "token": job.token("scene"),
        "log_token": job.token("log"),
        "nbr_samples": job.frames,
        "first_sample_token": job.token("sample", 0),
        "last_sample_token": job.token("sample", job.frames - 1),
        "name": job.name,
        "description": "A simulated street",
    }
    calibration = {
        "token": job.token("calibrated_sensor"),
        "sensor_token": fixed_token("sensor"),
        "translation": translation.tolist(),
        "rotation": quaternion(rotation),
        "camera_intrinsic": [],
    }
    return {"log": [log], "scene": [described], "calibrated_sensor": [calibration]}


def rows_of_frame(job: SceneJob, scene: Scene, *, frame: Frame, number: int) -> Tables:
    """The rows of sample, sample_data, ego_pose, lidarseg and sample_annotation of one frame."""
    time = START + job.index * 10**9 + round(number * job.interval * 1e6)
    sample, data = job.token("sample", number), job.token("sample_data", number)
    rotation, position = scene.drive.pose(scene.street, number * job.interval)
    scan = {
        "token": data,
        "sample_token": sample,
        "ego_pose_token": data,
        "calibrated_sensor_token": job.token("calibrated_sensor"),
        "timestamp": time,
        "fileformat": "pcd",
        "is_key_frame": True,
        "height": 0,
        "width": 0,
        "filename": f"samples/LIDAR_TOP/sim-{job.seed}-{job.index:04d}__LIDAR_TOP__{time}.pcd.bin",
    }
    labels = f"lidarseg/{job.version}/{data}_lidarseg.bin"
    pose = {
        "token": data,
        "timestamp": time,
        "rotation": quaternion(rotation),
        "translation": position.tolist(),
    }
    return {
        "sample": [
            {
                "token": sample,
                "timestamp": time,
                "scene_token": job.token("scene"),
                **_chain(job, "sample", number=number),
            }
        ],
        "sample_data": [{**scan, **_chain(job, "sample_data", number=number)}],
        "ego_pose": [pose],
        "lidarseg": [{"token": data, "sample_data_token": data, "filename": labels}],
        "sample_annotation": _annotations(job, scene, frame=frame, number=number),
    }


def _chain(job: SceneJob, table: str, *, number: int) -> dict[str, str]:
    """Tokens of the rows before and after."""
    near = {"prev": number - 1, "next": number + 1}
    return {name: job.token(table, place) if 0 <= place < job.frames else "" for name, place in near.items()}


def _annotations(job: SceneJob, scene: Scene, *, frame: Frame, number: int) -> list[dict[str, Any]]:
    """Boxes of the countable objects that have at least one point in the frame."""
    objects, (position, heading) = scene.world.objects, scene.object_poses(number * job.interval)
    counts, moving = np.bincount(frame.object[frame.object >= 0], minlength=len(objects)), scene.moving()
    rows = []
    for row in np.flatnonzero(counts).tolist():
        kind, count = Kind(int(objects["kind"][row])), int(counts[row])
        if FACTS[kind].category is None:
            continue
        length, width, height = objects["size"][row].tolist()
        half_turn = float(heading[row]) / 2
        rows.append(
            {
                "token": job.token("annotation", row, number),
                "sample_token": job.token("sample", number),
                "instance_token": job.token("instance", row),
                "category": FACTS[kind].category,
                "attribute_tokens": _attribute(kind, moving=bool(moving[row])),
                # Without a camera nobody knows how much of a thing is seen; more points, more of it.
                "visibility_token": str(min(4, 1 + count // 10)),
                "translation": (position[row] + np.array([0, 0, height / 2])).tolist(),
                "size": [width, length, height],
                "rotation": [float(np.cos(half_turn)), 0.0, 0.0, float(np.sin(half_turn))],
                "num_lidar_pts": count,
                "num_radar_pts": 0,
                "prev": "",
                "next": "",
            }
        )
    return rows


def _attribute(kind: Kind, *, moving: bool) -> list[str]:
    category = FACTS[kind].category or ""
    if category.startswith("human"):
        return [fixed_token("pedestrian.moving" if moving else "pedestrian.standing")]
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        ridden = kind in (Kind.BICYCLIST, Kind.MOTORCYCLIST)
        return [fixed_token("cycle.with_rider" if ridden else "cycle.without_rider")]
    if category.startswith("vehicle"):
        return [fixed_token("vehicle.moving" if moving else "vehicle.stopped")]
    return []


def link_annotations(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chain each object's annotations, in place and less their `category`; answers the instance rows."""
    chains: dict[str, list[dict[str, Any]]] = {}
    for row in annotations:
        chains.setdefault(row["instance_token"], []).append(row)
    instances = []
    for token, chain in chains.items():
        category = [row.pop("category") for row in chain][0]
        for before, after in pairwise(chain):
            before["next"], after["prev"] = after["token"], before["token"]
        instances.append(
            {
                "token": token,
                "category_token": fixed_token(category),
                "nbr_annotations": len(chain),
                "first_annotation_token": chain[0]["token"],
                "last_annotation_token": chain[-1]["token"],
            }
        )
    return instances


def write_tables(folder: Path, scenes: Sequence[Tables]) -> None:
    """Write every table: the scenes' rows in order, and those that do not depend on the scenes."""
    tables: Tables = {name: [row for scene in scenes for row in scene[name]] for name in scenes[0]}
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
    # The devkit wants a map for each log; its mask may have an empty file name.
    logs = [row["token"] for row in tables["log"]]
    tables["map"] = [
        {"token": fixed_token("map"), "category": "semantic_prior", "filename": "", "log_tokens": logs}
    ]
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
