"""First of the transforms: where a step's random numbers come from.

B scans, N points.
"""

import numpy as np
import torch
from torch import Tensor

from also_selfsup.transforms.rows import on_cpu, sort_rows, spare_bits


def step_generator(
    *, seed: int, epoch: int, rank: int, step: int, device: torch.device | str
) -> torch.Generator:
    """Make the generator of one step of one process.

    The same four numbers give the same stream, so a resumed run sees the very batches of an unbroken one.

    Args:
        seed: Of the run, 0 or more.
        epoch: 0 or more.
        rank: Of the process, 0 or more.
        step: Batch within the epoch, 0 or more.
        device: The one the batches are on; streams differ between kinds of devices.

    Raises:
        ValueError: A number is negative.
    """
    numbers = {"seed": seed, "epoch": epoch, "rank": rank, "step": step}
    for name, value in numbers.items():
        if value < 0:
            raise ValueError(f"{name} is {value}: random streams are numbered from 0.")
    # A sequence mixes its words, so that neighbouring steps and ranks have unrelated streams.
    state = np.random.SeedSequence(tuple(numbers.values())).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0] >> np.uint64(1)))


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the generators that dropout draws from: torch's own of the CPU, and of the device of this process.

    `torch.manual_seed` gives the same numbers. But it seeds every kind of device there may be, and for each
    kind that is not in use notes the stack of calls, which takes the host half a millisecond in a training.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


def random_bits(count: int, *, bits: int, generator: torch.Generator) -> Tensor:
    """Draw `count` independent uniform int64 in [0, 2**bits) on the generator's device; `bits` is 1 to 62."""
    if not on_cpu(generator.device):
        return torch.randint(0, 1 << bits, (count,), generator=generator, device=generator.device)
    # On the CPU torch takes 17 ns a number; numpy's generator, seeded from torch's, takes 5.
    seed = int(torch.randint(0, 1 << 62, (), generator=generator))
    raw = np.random.SFC64(seed).random_raw(count)
    raw >>= np.uint64(64 - bits)
    return torch.from_numpy(raw.view(np.int64))


def random_order(groups: Tensor, *, group_count: int, generator: torch.Generator) -> Tensor:
    """Order rows by group, and uniformly at random within each group.

    Two rows of a group tie with a probability of about 2**-36 for a batch of a million points, and then keep
    their order: the bias is far below what any number of epochs could show.

    Args:
        groups: (N,) int64 in [0, group_count), in any order.
        group_count: Upper bound of `groups`.
        generator: On the device of `groups`.

    Returns:
        (N,) int64, a permutation of the rows.
    """
    bits = spare_bits(groups.shape[0], upper=group_count)
    keys = random_bits(groups.shape[0], bits=bits, generator=generator)
    keys.add_(groups, alpha=1 << bits)
    return sort_rows(keys, bound=group_count << bits)[1]
