"""Streams of a step, uniform bits, random order within groups."""

import numpy as np
import pytest
import torch
from scipy import stats

from also_selfsup.transforms.randomness import random_bits, random_order, seed_torch, step_generator


def draw(**numbers: int) -> list[int]:
    place = {"seed": 0, "epoch": 0, "rank": 0, "step": 0, **numbers}
    generator = step_generator(**place, device="cpu")
    return torch.randint(0, 1 << 30, (4,), generator=generator).tolist()


def test_same_place_same_stream() -> None:
    assert draw(seed=3, epoch=2, rank=1, step=9) == draw(seed=3, epoch=2, rank=1, step=9)


def test_every_place_has_a_stream_of_its_own() -> None:
    places = [{name: value} for name in ("seed", "epoch", "rank", "step") for value in range(1, 20)]
    streams = {tuple(draw(**place)) for place in places}
    assert len(streams) == len(places)


@pytest.mark.parametrize("name", ["seed", "epoch", "rank", "step"])
def test_negative_numbers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -1"):
        draw(**{name: -1})


@pytest.mark.parametrize("device", ["cpu", "meta", "cuda"])
def test_dropout_is_seeded_as_torch_does(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    seed = step_generator(seed=3, epoch=1, rank=0, step=2, device="cpu").initial_seed()
    numbers = []
    for begin in (torch.manual_seed, lambda seed: seed_torch(seed, torch.device(device))):
        torch.rand(3, device="cuda" if device == "cuda" else "cpu")
        begin(seed)  # type: ignore[no-untyped-call]
        numbers.append([torch.rand(3), torch.rand(3, device="cuda" if device == "cuda" else "cpu").cpu()])
    assert torch.equal(torch.stack(numbers[0]), torch.stack(numbers[1]))


@pytest.mark.parametrize("bits", [1, 13, 40, 62])
def test_bits_are_uniform(bits: int, path: str, generator: torch.Generator) -> None:
    drawn = random_bits(20000, bits=bits, generator=generator).numpy()
    assert drawn.min() >= 0 and int(drawn.max()) < 1 << bits
    for place in range(bits):
        ones = int(((drawn >> place) & 1).sum())
        assert abs(ones - 10000) < 5 * 71, f"bit {place} is one in {ones} of 20000"


def test_bits_go_on_with_the_generator(generator: torch.Generator) -> None:
    first, second = (random_bits(10, bits=40, generator=generator).tolist() for _ in range(2))
    again = torch.Generator().manual_seed(7)
    assert first == random_bits(10, bits=40, generator=again).tolist()
    assert not set(first) & set(second)


def test_order_goes_by_group(path: str, generator: torch.Generator) -> None:
    groups = np.random.default_rng(0).integers(0, 5, 300)
    order = random_order(torch.from_numpy(groups), group_count=5, generator=generator).numpy()
    assert sorted(order) == list(range(300))
    assert (np.diff(groups[order]) >= 0).all()


def test_all_orders_of_a_group_are_equally_likely(generator: torch.Generator) -> None:
    groups = torch.arange(6000).repeat_interleave(4)
    order = random_order(groups, group_count=6000, generator=generator).view(6000, 4) % 4
    _, counts = np.unique(order.numpy() @ (64, 16, 4, 1), return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3
