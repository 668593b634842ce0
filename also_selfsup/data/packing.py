"""From loader workers to the device: a batch in one piece of memory, handed over and copied at once.

B scans, N points of the batch, M of other frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from also_selfsup.data.scan import NO_OTHER_FRAMES, Batch, Scan, check_labels

# Bytes: fields begin where any vectorised kernel may read.
ALIGNMENT = 16
# The scan of each point goes along in a byte, or four where there are more scans.
INDICES = ("batch", "query_batch")
FEW_SCANS = 256


@dataclass(frozen=True)
class Place:
    """Where a field lies in the buffer: first byte, shape and type."""

    begin: int
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class PackedBatch:
    """What `collate` gives, packed.

    Attributes:
        buffer: All fields that are tensors, bytes.
        places: Where each of them lies.
        others: The fields that are none.
    """

    buffer: Tensor
    places: dict[str, Place]
    others: dict[str, Any]

    def pin_memory(self) -> PackedBatch:
        """The same in memory that a GPU may copy from meanwhile; a DataLoader calls it."""
        return replace(self, buffer=self.buffer.pin_memory())

    def unpack(self, device: torch.device) -> Batch:
        """The batch on a device, by one copy; a GPU copies later if the memory is pinned."""
        buffer = self.buffer.to(device, non_blocking=True)
        # A view of all for each type, then one call a field: calls are what this costs.
        typed: dict[torch.dtype, Tensor] = {}
        batch = dict(self.others)
        for name, place in self.places.items():
            whole = typed.get(place.dtype)
            if whole is None:
                whole = typed[place.dtype] = buffer.view(place.dtype)
            begin = place.begin // place.dtype.itemsize
            values = whole.as_strided(place.shape, _strides(place.shape), begin)
            batch[name] = values.long() if name in INDICES else values
        return batch


def collate_packed(scans: Sequence[Scan]) -> PackedBatch:
    """Join B scans into one batch as `collate` does, in one buffer.

    Raises:
        ValueError: No scans, or labelled and unlabelled ones mixed.
    """
    labels = check_labels(scans)
    parts: dict[str, Sequence[NDArray[Any]]] = {
        "pos": [scan.pos for scan in scans],
        "intensities": [scan.intensities for scan in scans],
        "sensor": [scan.sensor[None] for scan in scans],
        "batch": _indices([len(scan.pos) for scan in scans]),
    }
    if labels:
        parts["y"] = labels
    if any(scan.others for scan in scans):
        frames = [scan.others or NO_OTHER_FRAMES for scan in scans]
        parts["query_pos"] = [points.pos for points in frames]
        parts["query_intensities"] = [points.intensities for points in frames]
        parts["query_origins"] = [points.origins for points in frames]
        parts["query_batch"] = _indices([len(points.pos) for points in frames])
    names = [scan.name for scan in scans]
    skipped = [scan.finding or scan.name for scan in scans if scan.skipped]
    return _packed(parts, {"names": names, "skipped": skipped})


def _indices(counts: Sequence[int]) -> list[NDArray[Any]]:
    """The scan of each point, by scan."""
    kind = np.uint8 if len(counts) <= FEW_SCANS else np.int32
    return [np.full(count, scan, kind) for scan, count in enumerate(counts)]


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous tensor."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _packed(parts: dict[str, Sequence[NDArray[Any]]], others: dict[str, Any]) -> PackedBatch:
    places, size = {}, 0
    for name, arrays in parts.items():
        shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
        kind = torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype
        places[name] = Place(size, shape, kind)
        size += -(-math.prod(shape) * kind.itemsize // ALIGNMENT) * ALIGNMENT
    buffer = _shared_bytes(size)
    room = buffer.numpy()
    for name, arrays in parts.items():
        count = sum(array.nbytes for array in arrays)
        field = room[places[name].begin : places[name].begin + count].view(arrays[0].dtype)
        np.concatenate(arrays, out=field.reshape(places[name].shape))
    return PackedBatch(buffer, places, others)


def _shared_bytes(size: int) -> Tensor:
    """Memory for a batch; in a worker, memory that the main process can open, so that nothing is copied."""
    if get_worker_info() is None:
        return torch.empty(size, dtype=torch.uint8)
    # What torch's own collate takes.
    storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage)
