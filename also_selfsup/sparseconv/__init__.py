"""Sparse convolution: one seam (`interface.py`), layers that own the parameters, libraries behind them."""

from also_selfsup.sparseconv.backends import BACKENDS, get_backend
from also_selfsup.sparseconv.interface import Backend, Voxels
from also_selfsup.sparseconv.layers import (
    BatchNorm,
    Chain,
    DownsampleConv3d,
    ReLU,
    SubmanifoldConv3d,
    UpsampleConv3d,
    concatenate,
)

__all__ = [
    "BACKENDS",
    "Backend",
    "BatchNorm",
    "Chain",
    "DownsampleConv3d",
    "ReLU",
    "SubmanifoldConv3d",
    "UpsampleConv3d",
    "Voxels",
    "concatenate",
    "get_backend",
]
