"""Before frames of a data set are found: pickles of plain values, read without running any of them.

A pickle names functions and calls them. Here the only names it may use are those with which plain values and
numpy arrays are written, and what stands behind them is ours: an array is taken note of and not made, a numpy
scalar is read from its bytes. Any other name is refused.
"""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import LFS_SIGNATURE


class Sealed:
    """A callable that a pickle can call, but not alter (pickles may set attributes of what they name)."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it alters a function")


class ArrayMark:
    """Stands for a numpy array; its values are left where they are."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None: ...


class DtypeRecord:
    """A numpy type: its code such as "U13" or "i8", and the byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|"):
            self.order = state[1]


class _MakeArray(Sealed):
    __slots__ = ()

    def __call__(self, *_: Any) -> ArrayMark:
        return ArrayMark()


class _MakeDtype(Sealed):
    __slots__ = ()

    def __call__(self, code: Any, *_: Any) -> DtypeRecord:
        if type(code) is not str:
            raise pickle.UnpicklingError("a numpy type without a code")
        return DtypeRecord(code)


class _MakeScalar(Sealed):
    """A numpy scalar as a plain value; one of an unusual type as a mark."""

    __slots__ = ()

    def __call__(self, dtype: Any, content: Any = None) -> Any:
        if not isinstance(dtype, DtypeRecord) or type(content) is not bytes:
            raise pickle.UnpicklingError("a numpy scalar without type or value")
        kind, size = dtype.code[:1], len(content)
        if kind == "U":
            return content.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")
        if kind in "iu":
            return int.from_bytes(content, "big" if dtype.order == ">" else "little", signed=kind == "i")
        if kind == "f" and size in (4, 8):
            return struct.unpack((">" if dtype.order == ">" else "<") + {4: "f", 8: "d"}[size], content)[0]
        return bool(content[0]) if dtype.code == "b1" and size == 1 else ArrayMark()


class _MakeBytes(Sealed):
    """`_codecs.encode`, with which protocols below 3 write bytes."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        if type(text) is not str or encoding != "latin1":
            raise pickle.UnpicklingError("bytes in an unknown encoding")
        return text.encode("latin1")


class _NoBytes(Sealed):
    """`bytes()`, with which protocols below 3 write those of an empty array."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


class _MakeTable(Sealed):
    __slots__ = ()

    def __call__(self, pairs: Any = ()) -> dict[Any, Any]:
        return dict(pairs)


# numpy 2 calls numpy.core numpy._core; files of either are read with either.
ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _MakeTable(),
    ("_codecs", "encode"): _MakeBytes(),
    ("builtins", "bytes"): _NoBytes(),
    ("__builtin__", "bytes"): _NoBytes(),
    ("numpy", "dtype"): _MakeDtype(),
    ("numpy", "ndarray"): _MakeArray(),
    **{
        (f"numpy.{core}.{module}", name): make
        for core in ("core", "_core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _MakeArray()),
            ("multiarray", "scalar", _MakeScalar()),
            ("numeric", "_frombuffer", _MakeArray()),
        )
    },
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The only way from a name in the file to an object."""
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no plain value")
        return ADMITTED[module, name]


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of numbers, texts, lists, tuples, dictionaries, numpy scalars and arrays.

    Returns:
        The content; arrays are `ArrayMark`s.

    Raises:
        DatasetError: The file is missing or damaged, or holds anything else; nothing of it has run then.
    """
    try:
        with path.open("rb") as file:
            if file.peek(len(LFS_SIGNATURE)).startswith(LFS_SIGNATURE):
                cure = "Run `git lfs pull` where it came from"
                raise DatasetError(f"{path}: this is a Git LFS pointer, not the file itself. {cure}.")
            return _RestrictedUnpickler(file).load()
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception as error:  # a damaged or hostile pickle fails in any way it likes
        finding = f"it is no pickle of plain values ({type(error).__name__}: {error})"
        raise DatasetError(f"{path}: {finding}. Do not use it; fetch it again from its authors.") from None
