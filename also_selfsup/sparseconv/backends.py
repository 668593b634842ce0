"""Before the networks: the sparse-convolution libraries by name."""

from __future__ import annotations

from collections.abc import Callable

from also_selfsup.settings.names import choose
from also_selfsup.sparseconv.interface import Backend
from also_selfsup.sparseconv.native import NativeBackend


def _spconv() -> Backend:
    from also_selfsup.sparseconv.spconv_backend import SpconvBackend

    return SpconvBackend()


def _torchsparse() -> Backend:
    from also_selfsup.sparseconv.torchsparse_backend import TorchsparseBackend

    return TorchsparseBackend()


# Name → constructor; optional libraries are imported only when asked for.
BACKENDS: dict[str, Callable[[], Backend]] = {
    "native": NativeBackend,
    "spconv": _spconv,
    "torchsparse": _torchsparse,
}


def get_backend(name: str) -> Backend:
    """The backend of that name; `auto` is native.

    Raises:
        ValueError: No such backend; the message lists the valid names.
        MissingLibraryError: The library is not installed; the message says how to get it.
    """
    return choose(BACKENDS, "native" if name == "auto" else name, "cfg.network.framework")()
