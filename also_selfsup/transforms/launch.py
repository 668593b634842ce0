"""On a GPU: launch a Triton kernel again without asking anew what it was compiled for.

Triton looks at every argument of every launch to find the right compiled kernel, which takes the host longer
than most of these kernels run. Here the types of the arguments and the constants choose it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from also_selfsup.transforms.compiling import compile_log, mode

LARGE = 2**31


@lru_cache
def has_matrix_units(device: torch.device) -> bool:
    """Triton uses matrix units from compute capability 8.0 on; below, torch's products are quicker."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (8, 0)


class Launcher:
    """Launches one Triton kernel.

    Runtime arguments come first in its signature, then the constants. Its integers must be marked
    `do_not_specialize`: a compiled kernel is used for all their values.

    Args:
        kernel: A function under `triton.jit`.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._compiled: dict[Any, tuple[Any, tuple[Any, ...]]] = {}

    def __call__(
        self,
        grid: tuple[int, ...],
        arguments: Sequence[Tensor | float],
        *,
        constants: Mapping[str, float],
        warps: int = 4,
        stages: int = 3,
        fused_sums: bool = True,
    ) -> None:
        """Launch.

        Args:
            grid: Programs along up to three axes.
            arguments: Tensors of one device and numbers, in the order of the signature.
            constants: The constants by name.
            warps: Groups of 32 threads a program.
            stages: Loads under way at once in a loop.
            fused_sums: Round a product and the sum it goes into once instead of twice, where that is quicker.
        """
        first = arguments[0]
        device = first.get_device() if isinstance(first, Tensor) else -1
        key = (device, warps, stages, fused_sums, *constants.values(), *map(_kind, arguments))
        found = self._compiled.get(key)
        if mode.noted is not None:
            if found is None and all(not isinstance(kind, tuple) for kind in key[4 + len(constants) :]):
                kinds = [one.dtype if isinstance(one, Tensor) else one for one in arguments]
                options = {**constants, **_options(warps, stages, fused_sums)}
                mode.noted.jobs[self, key] = partial(self._compile, kinds, options)
            return
        if found is not None:
            compiled, values = found
            compiled[grid](*arguments, *values)
            return
        begun = time.perf_counter()
        compiled = self._kernel[grid](*arguments, **constants, **_options(warps, stages, fused_sums))
        compile_log.note(time.perf_counter() - begun)
        if compiled is not None:  # the interpreter compiles nothing
            names = self._kernel.arg_names[len(arguments) :]
            self._compiled[key] = compiled, tuple(constants[name] for name in names)

    def _compile(self, kinds: Sequence[Any], options: Mapping[str, Any]) -> float:
        """Compile for tensors of these types that lie at 16 bytes, and numbers; the seconds it took."""
        begun = time.perf_counter()
        self._kernel.warmup(*kinds, grid=(1, 1, 1), **options)
        return time.perf_counter() - begun


def _options(warps: int, stages: int, fused_sums: bool) -> dict[str, Any]:
    return {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": fused_sums}


def _kind(argument: Tensor | float) -> Any:
    """What a kernel is compiled for: type and alignment of a tensor, width of an integer."""
    if isinstance(argument, Tensor):
        return argument.dtype if argument.data_ptr() % 16 == 0 else (argument.dtype,)
    if isinstance(argument, int):
        return -LARGE <= argument < LARGE
    return float
