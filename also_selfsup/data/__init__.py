"""Data: from files on disk to batches of scans."""

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.folder import Folder
from also_selfsup.data.kitti3d import KITTI3D
from also_selfsup.data.kitti360 import KITTI360
from also_selfsup.data.livox import LivoxSimu
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.once import ONCE
from also_selfsup.data.semantickitti import SemanticKITTI
from also_selfsup.data.semanticposs import SemanticPOSS

# One line a data set: the name that cfg.dataset_name gives, and its class.
DATASETS: dict[str, type[LidarDataset]] = {
    "NuScenes": NuScenes,
    "SemanticKITTI": SemanticKITTI,
    "KITTI3D": KITTI3D,
    "KITTI360": KITTI360,
    "ONCE": ONCE,
    "SemanticPOSS": SemanticPOSS,
    "LivoxSimu": LivoxSimu,
    "Folder": Folder,
}
