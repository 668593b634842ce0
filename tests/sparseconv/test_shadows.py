"""What kernels read of a network's parameters: always of the weights as they are, made together."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from also_selfsup.sparseconv.native.gpu.shadows import Shadows

BF16 = torch.bfloat16


class Calls(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def kernels() -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape)) for shape in ((27, 4, 8), (8, 8, 8), (8, 4))]


def test_copies_follow_the_weights_in_one_go_a_pass() -> None:
    shadows, parameters = Shadows(), kernels()
    first = [shadows.of(parameter, BF16) for parameter in parameters]
    for number in range(3):
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(number + 1)
        shadows.begin()
        with Calls() as calls:
            found = [shadows.of(parameter, BF16) for parameter in parameters]
        assert [copy is before for copy, before in zip(found, first, strict=True)] == [True] * 3
        assert calls.names.count("_foreach_copy_") == 1 and "_to_copy" not in calls.names
        assert all(torch.equal(c, p.detach().to(BF16)) for c, p in zip(found, parameters, strict=True))


def test_copies_are_lent_for_a_recording() -> None:
    shadows, parameters = Shadows(), kernels()
    usual = [shadows.of(parameter, BF16) for parameter in parameters]
    names = [parameter.detach().requires_grad_() for parameter in parameters]
    with Calls() as calls, shadows.lending([*names, torch.ones(3)], BF16):
        shadows.begin()
        found = [shadows.of(name, BF16) for name in names]
        turned = shadows.of(names[1].transpose(1, 2), BF16)  # the same memory and shape, another kernel
    assert calls.names.count("_foreach_copy_") == 1
    truth = [parameter.detach().to(BF16) for parameter in parameters]
    assert all(torch.equal(copy, expected) for copy, expected in zip(found, truth, strict=True))
    assert not {copy.data_ptr() for copy in found} & {copy.data_ptr() for copy in usual}
    assert torch.equal(turned, truth[1].transpose(1, 2))
    assert shadows.of(names[0], BF16) is not found[0]  # behind it nothing is lent


def test_copies_made_for_inference_serve_training_later() -> None:
    shadows, (parameter, *_) = Shadows(), kernels()
    with torch.inference_mode():
        shadows.of(parameter, BF16)
    shadows.begin()
    assert torch.equal(shadows.of(parameter, BF16), parameter.detach().to(BF16))


def test_each_type_is_refreshed_when_it_is_asked_for() -> None:
    shadows, (parameter, *_) = Shadows(), kernels()
    half, single = shadows.of(parameter, torch.float16), shadows.of(parameter, BF16)
    shadows.begin()
    with torch.no_grad():
        parameter.add_(1)
    assert shadows.of(parameter, BF16) is single
    assert torch.equal(single, parameter.detach().to(BF16))
    assert not torch.equal(half, parameter.detach().half())
    assert torch.equal(shadows.of(parameter, torch.float16), parameter.detach().half())


def test_what_is_no_parameter_is_copied_each_time() -> None:
    shadows = Shadows()
    (parameter, *_), other = kernels(), torch.randn(27, 4, 8)
    shadows.of(parameter, BF16)
    part = parameter.detach()[:8]  # the same memory, another kernel
    for kernel in (other, part):
        found = shadows.of(kernel, BF16)
        assert found is not shadows.of(kernel, BF16) and torch.equal(found, kernel.to(BF16))


def test_kernels_and_norms_are_refreshed_apart() -> None:
    """A pass that is recorded asks for kernels alone: what evaluation knows must not lie in its memory."""
    shadows, (parameter, *_), norm = Shadows(), kernels(), nn.BatchNorm1d(4).eval()
    shadows.of(parameter, BF16)
    scale, shift = shadows.affine_of(norm)
    with torch.no_grad():
        norm.running_mean.add_(1)
        norm.weight.mul_(2)
    shadows.begin()
    shadows.of(parameter, BF16)
    assert shadows._affine[norm] == (scale, shift)  # the very tensors
    x = torch.randn(5, 4)
    assert_affine(shadows.affine_of(norm), norm, x)


def assert_affine(found: tuple[Tensor, Tensor], norm: nn.BatchNorm1d, x: Tensor) -> None:
    torch.testing.assert_close(x * found[0] + found[1], norm(x))
