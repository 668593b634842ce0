"""Native backend on a GPU: what the kernels read of a network's parameters, refreshed together once a pass.

Letters: K cells of a kernel, I input channels, O output channels, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary


class Shadows:
    """Copies of the kernels in 16 bits, and what batch-norms in evaluation amount to.

    Each kind is made anew together, by a few launches, when the first of a pass is asked for.
    """

    def __init__(self) -> None:
        self._copies: dict[torch.dtype, Any] = {}
        self._affine: WeakKeyDictionary[nn.BatchNorm1d, tuple[Tensor, Tensor]] = WeakKeyDictionary()
        self._lent: dict[tuple[int, torch.dtype], Tensor] = {}
        self._fresh: set[torch.dtype] = set()
        self._fresh_norms = False

    def __reduce__(self) -> tuple[type[Shadows], tuple[()]]:
        """A copy of a network makes its own."""
        return Shadows, ()

    def begin(self) -> None:
        """A new pass: weights may have changed in any way since the last one."""
        self._fresh.clear()
        self._fresh_norms = False

    @contextmanager
    def lending(self, parameters: Sequence[Tensor], dtype: torch.dtype) -> Iterator[None]:
        """Within, kernels among these tensors have copies made here and now, all together.

        A recorded pass has its own, in its own memory, and writes them anew each time it is replayed.
        """
        kernels = [parameter for parameter in parameters if parameter.dim() > 1]
        with torch.no_grad():
            copies = [torch.empty_like(kernel, dtype=dtype) for kernel in kernels]
            if kernels:
                torch._foreach_copy_(copies, kernels)
        self._lent = {(id(kernel), dtype): copy for kernel, copy in zip(kernels, copies, strict=True)}
        try:
            yield
        finally:
            self._lent = {}

    def of(self, kernel: Tensor, dtype: torch.dtype) -> Tensor:
        """The kernel in that type, contiguous; not differentiable."""
        lent = self._lent.get((id(kernel), dtype))
        if lent is not None:
            return lent.contiguous()
        if not isinstance(kernel, nn.Parameter):  # made for this pass only
            return kernel.detach().to(dtype).contiguous()
        copies = self._copies.setdefault(dtype, WeakTensorKeyDictionary())
        if dtype not in self._fresh:
            self._refresh_copies(dtype)
        found: Tensor | None = copies.get(kernel)
        if found is None or found.device != kernel.device or found.shape != kernel.shape:
            with torch.inference_mode(False):  # it may be refreshed where gradients are kept
                found = kernel.detach().to(dtype, copy=True).contiguous()
            copies[kernel] = found
        return found

    def affine_of(self, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        """Scale and shift (C,) float32 of a batch-norm in evaluation; not differentiable."""
        known = norm in self._affine
        if not known:
            self._affine[norm] = norm.weight, norm.bias  # their place; filled with the others
        if not (known and self._fresh_norms):
            self._refresh_norms()
        scale, shift = self._affine[norm]
        return scale, shift

    @torch.no_grad()
    def _refresh_norms(self) -> None:
        norms = list(self._affine)
        means, variances = (
            [getattr(norm, name) for norm in norms] for name in ("running_mean", "running_var")
        )
        deviations = list(torch._foreach_add(variances, [norm.eps for norm in norms]))
        torch._foreach_sqrt_(deviations)
        scales = list(torch._foreach_div([norm.weight for norm in norms], deviations))
        shifts = list(torch._foreach_mul(means, scales))
        shifts = list(torch._foreach_sub([norm.bias for norm in norms], shifts))
        for norm, scale, shift in zip(norms, scales, shifts, strict=True):
            self._affine[norm] = scale, shift
        self._fresh_norms = True

    @torch.no_grad()
    def _refresh_copies(self, dtype: torch.dtype) -> None:
        pairs = [
            (kernel, copy)
            for kernel, copy in self._copies[dtype].items()
            if kernel.device == copy.device and kernel.shape == copy.shape
        ]
        if pairs:
            torch._foreach_copy_([copy for _, copy in pairs], [kernel for kernel, _ in pairs])
        self._fresh.add(dtype)
