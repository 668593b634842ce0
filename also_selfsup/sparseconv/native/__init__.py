"""The default backend: the cells of a batch, the pairs they form, and the arithmetic over those pairs."""

from also_selfsup.sparseconv.native.backend import NativeBackend

__all__ = ["NativeBackend"]
