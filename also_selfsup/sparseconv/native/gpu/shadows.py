"""Native backend on a GPU: what the kernels read of a network's parameters, refreshed together once a pass.

Letters: K cells of a kernel, I input channels, O output channels, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        self._fresh_copies = self._fresh_norms = False

    def __reduce__(self) -> tuple[type[Shadows], tuple[()]]:
        """A copy of a network makes its own."""
        return Shadows, ()

    def begin(self) -> None:
        """A new pass: weights may have changed in any way since the last one."""
        self._fresh_copies = self._fresh_norms = False

    def of(self, kernel: Tensor, dtype: torch.dtype) -> Tensor:
        """The kernel in that type, contiguous; not differentiable.

        A parameter's copy keeps its place while the parameter keeps its own, in recorded passes too.
        """
        known = self._copies.setdefault(dtype, WeakTensorKeyDictionary())
        parameter = kernel if isinstance(kernel, nn.Parameter) else _owner(kernel, known)
        if parameter is None:  # made for this pass only
            return kernel.detach().to(dtype).contiguous()
        if not self._fresh_copies:
            self._refresh_copies()
        found: Tensor | None = known.get(parameter)
        if found is None or found.device != kernel.device or found.shape != kernel.shape:
            found = kernel.detach().to(dtype, copy=True).contiguous()
            known[parameter] = found
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
    def _refresh_copies(self) -> None:
        for copies in self._copies.values():
            pairs = [
                (k, copy) for k, copy in copies.items() if k.device == copy.device and k.shape == copy.shape
            ]
            if pairs:
                torch._foreach_copy_([copy for _, copy in pairs], [kernel for kernel, _ in pairs])
        self._fresh_copies = True


def _owner(kernel: Tensor, known: Mapping[Tensor, Tensor]) -> Tensor | None:
    """The parameter that this is by another name: passes are recorded with names of their own."""
    for parameter in known:
        if parameter.data_ptr() == kernel.data_ptr() and parameter.shape == kernel.shape:
            return parameter
    return None
