"""What a GPU is kept busy with; for the benchmarks beside it."""

from collections.abc import Callable
from typing import Any

import torch


def launches_of(run: Callable[[], Any]) -> tuple[int, float, list[tuple[str, float, int]]]:
    """Kernels that a call launches, the milliseconds they take, and the slowest of them."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        run()
        torch.cuda.synchronize()
    kernels = [
        e for e in found.key_averages() if e.self_device_time_total > 0 and not e.key.startswith("cuda")
    ]
    kernels = [e for e in kernels if e.device_type == torch.autograd.DeviceType.CUDA]
    kernels.sort(key=lambda e: -e.self_device_time_total)
    rows = [(e.key[:60], e.self_device_time_total / 1e3, e.count) for e in kernels]
    return sum(e.count for e in kernels), sum(row[1] for row in rows), rows[:25]
