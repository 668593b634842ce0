"""Behind training: tensors and plain values of a pickle, whatever else it holds, without running any of it.

`torch.load(weights_only=True)` refuses a file as a whole when one class of another library is in it, as is so
in checkpoints of Lightning 1.x (classes as keys of `callbacks`, omegaconf nodes). Here such things become
inert placeholders: no module is imported, nothing of the file is called. While the pickle is read, tensors
are mere records (storage, offset, size, stride); they are made after it, with their bounds checked.
"""

import pickle
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from also_selfsup.data.restricted_pickle import Sealed

STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
PLAIN = (str, int, float, bool, type(None), bytes)


class StorageRecord(NamedTuple):
    """The memory that tensors of a file share: `values` (numbers,) is filled from the file."""

    values: Tensor


class TensorRecord(NamedTuple):
    """A tensor of the file, as numbers of `storage`."""

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Inert:
    """Stands for any object that is no tensor and no plain value: takes all it is given, does nothing."""

    origin = ""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        """Any arguments make an instance."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> "Inert":
        """Not called: what would have come of it is as inert."""
        return self

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Discard the item."""

    def extend(self, items: Any) -> None:
        """Discard the items."""

    def add(self, item: Any) -> None:
        """Discard the item."""


class _Table(dict[Any, Any]):
    """An ordered dictionary; the attributes that the file wants it to have are left out."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None: ...


class _MakeTable(Sealed):
    __slots__ = ()

    def __call__(self, pairs: Any = ()) -> _Table:
        return _Table(pairs)


class _RebuildTensor(Sealed):
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
        numbers = (offset, *size, *stride)
        if not isinstance(storage, StorageRecord) or not all(type(n) is int and n >= 0 for n in numbers):
            raise pickle.UnpicklingError("a tensor of impossible shape")
        return TensorRecord(storage, offset, tuple(size), tuple(stride))


class _RebuildParameter(Sealed):
    __slots__ = ()

    def __call__(self, data: Any, *_: Any) -> Any:
        return data


ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _MakeTable(),
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
}


class RestrictedUnpickler(pickle.Unpickler):
    """Reads one pickle; `storages` answers what its references to storages stand for."""

    def __init__(self, file: BinaryIO, storages: Callable[[str, torch.dtype, int], StorageRecord]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages = storages
        self.placeholders: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """The only way from a name in the file to an object: the few of `ADMITTED`, else a placeholder."""
        if module.partition(".")[0] == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        if (module, name) in ADMITTED:
            return ADMITTED[module, name]
        origin = f"{module}.{name}"
        self.placeholders.add(origin)
        return type("Placeholder", (Inert,), {"origin": origin})

    def persistent_load(self, reference: Any) -> StorageRecord:
        """A storage, which torch keeps outside the pickle."""
        match reference:
            case ("storage", torch.dtype() as dtype, str(key), _, int(count), *_):
                return self.storages(key, dtype, count)
        raise pickle.UnpicklingError("a reference to something that is no storage")


def plain(value: Any) -> Any:
    """`value` with tensors made and placeholders left out of dictionaries; `Inert` where nothing is left."""
    if isinstance(value, TensorRecord):
        return torch.as_strided(value.storage.values, value.size, value.stride, value.offset)
    if type(value) in PLAIN:
        return value
    if isinstance(value, dict):
        pairs = ((key, plain(item)) for key, item in value.items() if type(key) in PLAIN)
        return {key: item for key, item in pairs if item is not Inert}
    if type(value) in (list, tuple):
        items = [plain(item) for item in value]
        return Inert if any(item is Inert for item in items) else type(value)(items)
    return Inert
