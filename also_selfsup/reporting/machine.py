"""Beside a run: what it runs on and with, and how much memory it takes."""

import os
import platform
import resource
import sys
from importlib.metadata import version

import torch

LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy", "matplotlib")


def versions(device: torch.device) -> list[list[str]]:
    """Rows of a table: the package, what it builds upon, and what computes."""
    rows = [["also-selfsup", version("also-selfsup")], ["Python", platform.python_version()]]
    rows += [[name, version(name)] for name in LIBRARIES]
    rows.append(["system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"])
    if device.type == "cuda":
        rows.append(["CUDA", str(torch.version.cuda)])
        rows.append(["computes on", torch.cuda.get_device_name(device)])
    else:
        rows.append(["computes on", f"{device.type}, {torch.get_num_threads()} threads"])
    return rows


def peak_memory_gib() -> float:
    """The most main memory that this process has held so far, GiB; loader processes are not in it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
