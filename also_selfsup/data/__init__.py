"""Data: from files on disk to batches of scans."""

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.folder import Folder
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.semantickitti import SemanticKITTI

# One line a data set: the name that cfg.dataset_name gives, and its class.
DATASETS: dict[str, type[LidarDataset]] = {
    "NuScenes": NuScenes,
    "SemanticKITTI": SemanticKITTI,
    "Folder": Folder,
}
