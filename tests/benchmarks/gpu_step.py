"""A training step in its parts, timed on a GPU; for the benchmarks beside it."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from also_selfsup.data.scan import collate
from also_selfsup.settings.schema import Settings
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.transforms.pending import in_turn
from also_selfsup.transforms.randomness import step_generator

WHOLE = "whole step, never waited for"


class Step:
    """A training step in its parts."""

    def __init__(self, settings: Settings, dtype: torch.dtype) -> None:
        self.module = PretrainingModule(settings).cuda().train()
        self.optimizer = self.module.configure_optimizers()
        self.settings, self.dtype = settings, dtype
        scans = open_dataset(settings, settings.train_split, labels=False)
        size = settings.training.batch_size
        batches = [collate([scans[(size * b + i) % len(scans)] for i in range(size)]) for b in range(4)]
        self.batches = [
            {k: v.pin_memory() if isinstance(v, Tensor) else v for k, v in b.items()} for b in batches
        ]
        self.number = 0

    def run(self, clock: Callable[[str], None]) -> Tensor:
        """One step; the clock is told when each part ends."""
        module, number = self.module, self.number
        self.number += 1
        batch = {
            k: v.cuda(non_blocking=True) if isinstance(v, Tensor) else v
            for k, v in self.batches[number % 4].items()
        }
        clock("copy")
        generator = step_generator(seed=0, epoch=1, rank=0, step=number, device=torch.device("cuda"))
        with torch.autocast("cuda", self.dtype):
            fields = module.transforms(batch, generator, training=True)
            clock("transforms")
            fields |= module.decoder.search(fields, generator)
            clock("decoder: search")
            fields |= in_turn(module.backbone.prepare(fields))
            clock("backbone: tables")
            fields |= module.backbone(fields)
            clock("backbone: forward")
            fields |= module.decoder(fields, generator)
            loss = module.losses(fields)["total"]
            clock("decoder: forward, losses")
        latents = fields["latents"]
        pulls = torch.autograd.grad(loss, [latents, *module.decoder.parameters()], retain_graph=True)
        clock("decoder: backward")
        latents.backward(pulls[0])
        for parameter, pull in zip(module.decoder.parameters(), pulls[1:], strict=True):
            parameter.grad = pull.contiguous()  # as backward() would have stored it
        clock("backbone: backward")
        self.optimizer.step()
        self.optimizer.zero_grad()
        clock("optimiser")
        self.fields = fields
        return loss.detach()


def parts_of(step: Step, *, steps: int) -> dict[str, float]:
    """Median milliseconds of each part, and of a step that is never waited for."""
    times: dict[str, list[float]] = {}
    last = 0.0

    def clock(part: str) -> None:
        nonlocal last
        torch.cuda.synchronize()
        now = time.perf_counter()
        times.setdefault(part, []).append(1e3 * (now - last))
        last = now

    for number in range(steps + 5):
        if number == 5:
            times.clear()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        last = time.perf_counter()
        step.run(clock)
    found = {part: statistics.median(values) for part, values in times.items()}
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        step.run(lambda part: None)
    torch.cuda.synchronize()
    found[WHOLE] = 1e3 * (time.perf_counter() - begin) / steps
    return found
