"""What KITTI's object detection has beside its scans: boxes and calibration of cameras in the lidar's place.

O objects in front of the camera, K corners of a box.
"""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.arrays import Doubles
from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.kitti_files import CAMERA, FOCAL_LENGTH, line, rigid_motion
from also_selfsup.data.simulator.scene import Frame, Scene

IMAGE_SIZE = (1242, 375)
PROJECTION = np.array([[FOCAL_LENGTH, 0, 621, 0], [0, FOCAL_LENGTH, 187.5, 0], [0, 0, 1, 0.0]])
TYPES = {
    Kind.CAR: "Car",
    Kind.TRUCK: "Truck",
    Kind.PEDESTRIAN: "Pedestrian",
    Kind.CHILD: "Pedestrian",
    Kind.BICYCLIST: "Cyclist",
    Kind.BUS: "Misc",
    Kind.TRAILER: "Misc",
    Kind.CONSTRUCTION: "Misc",
}


def box_lines(scene: Scene, frame: Frame, *, time: float) -> list[str]:
    """Lines of a label_2 file: the objects with points in the scan whose middle falls into the image."""
    objects, (position, heading) = scene.world.objects, scene.object_poses(time)
    seen = np.bincount(frame.object[frame.object >= 0], minlength=len(objects)) > 0
    ahead = np.arctan2(frame.rotation[1, 0], frame.rotation[0, 0])
    lines = []
    for row in np.flatnonzero(seen).tolist():
        kind, (length, width, height) = Kind(int(objects["kind"][row])), objects["size"][row].tolist()
        # The box stands on `place`, in the camera's axes; its turn is about the axis that points down.
        place = CAMERA @ frame.rotation.T @ (position[row] - frame.position)
        turn = _wrapped(ahead - heading[row] - np.pi / 2)
        if kind not in TYPES or place[2] < 1 or not _in_image(_pixels(place[None])[0]):
            continue
        corners = _pixels(place + _corners(length, width, height=height, turn=turn))
        low, high = corners.min(0).clip(0, IMAGE_SIZE), corners.max(0).clip(0, IMAGE_SIZE)
        view = _wrapped(turn - np.arctan2(place[0], place[2]))
        numbers = [view, *low, *high, height, width, length, *place, turn]
        lines.append(f"{TYPES[kind]} 0.00 0 " + " ".join(f"{number:.2f}" for number in numbers))
    return lines


def calibration() -> str:
    """Text of a calib file."""
    parts = {f"P{number}": line(PROJECTION, digits=12) for number in range(4)}
    parts["R0_rect"] = line(np.eye(3), digits=12)
    parts["Tr_velo_to_cam"] = line(rigid_motion(CAMERA, np.zeros(3)), digits=12)
    parts["Tr_imu_to_velo"] = line(np.eye(4), digits=12)
    return "".join(f"{name}: {text}\n" for name, text in parts.items())


def _corners(length: float, width: float, *, height: float, turn: float) -> Doubles:
    """Corners (K, 3) about the middle of the box's lower face."""
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-1, 0) for z in (-0.5, 0.5)])
    cos, sin = np.cos(turn), np.sin(turn)
    about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    corners: Doubles = signs * [length, height, width] @ about_y.T
    return corners


def _pixels(places: Doubles) -> Doubles:
    """Where places (K, 3) lie in the image; those beside or behind the camera at its rim."""
    depth = np.maximum(places[:, 2:], 0.1)
    pixels: Doubles = places[:, :2] / depth * FOCAL_LENGTH + PROJECTION[:2, 2]
    return pixels


def _in_image(pixel: Doubles) -> bool:
    return bool((pixel >= 0).all() and (pixel <= IMAGE_SIZE).all())


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
