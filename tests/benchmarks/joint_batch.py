"""Run by scaling_gpu.py in one or several processes: the losses of a pre-training's first steps, as JSON.

    python tests/benchmarks/joint_batch.py OUT.json forwards '["nuscenes", "cfg.num_device=2", ...]'

A process's random numbers depend on its rank, so that one process with the joint batch would draw others than
two with its halves. Here every scan is transformed and searched alone, with numbers that depend on the seed
and its name; its fields are joined to those of the batch's other scans afterwards. The sampler deals the
epoch's order out in turns, so that a step's scans are the same ones, and the losses are means over all
processes. `backwards` joins the scans in the opposite order: what that changes is rounding alone.

On a CPU, where torch has no synchronised batch-norm, batch-norm keeps to its running statistics.
"""

import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from also_selfsup import train_selfsupervised
from also_selfsup.data.scan import Batch
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.transforms.pending import Pending, Steps, finished
from also_selfsup.transforms.pipeline import PretrainingTransforms
from also_selfsup.transforms.randomness import step_generator
from also_selfsup.transforms.thinning import select

# Of which draws a scan's generator is.
TRANSFORMS, SEARCH = 0, 1


def generator_of(name: str, *, seed: int, draws: int, device: torch.device) -> torch.Generator:
    """A scan's own generator, whatever batch it is in."""
    number = zlib.crc32(name.encode())
    return step_generator(seed=seed, epoch=0, rank=draws, step=number, device=device)


def scans_of(batch: Batch) -> Iterator[Batch]:
    """Each scan as a batch of one."""
    for number, name in enumerate(batch["names"]):
        one = select(batch, (batch["batch"] == number).nonzero().squeeze(1))
        yield one | {
            "batch": torch.zeros_like(one["batch"]),
            "sensor": batch["sensor"][number : number + 1],
            "names": [name],
            "skipped": [],
        }


def joined(scans: list[Batch]) -> Batch:
    """One batch of transformed batches of one scan."""
    voxels = 0
    for number, scan in enumerate(scans):
        for name in ("batch", "pos_non_manifold_batch", "voxel_coords_batch"):
            scan[name] = scan[name] + number
        scan["voxel_to_pc_id"] = scan["voxel_to_pc_id"] + voxels
        voxels += len(scan["voxel_coords"])
    return {
        name: torch.cat([scan[name] for scan in scans])
        if isinstance(first, Tensor)
        else [item for scan in scans for item in scan[name]]
        for name, first in scans[0].items()
    }


@dataclass(frozen=True)
class ScanByScan:
    """The transforms of pre-training, each scan with random numbers of its own.

    Attributes:
        transforms: Of a batch.
        seed: Of the run.
        backwards: Join the scans in the opposite order.
    """

    transforms: PretrainingTransforms
    seed: int
    backwards: bool

    def __call__(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Batch:
        """As the transforms of a batch; the generator says the device only."""
        found = []
        for scan in scans_of(batch):
            own = generator_of(scan["names"][0], seed=self.seed, draws=TRANSFORMS, device=generator.device)
            found.append(dict(self.transforms(scan, own, training=training)))
        return joined(found[::-1] if self.backwards else found)

    def begin(self, batch: Batch, generator: torch.Generator, *, training: bool) -> Pending:
        """The same for a loader that prepares ahead."""
        return finished(self(batch, generator, training=training))


class JointModule(PretrainingModule):
    """Pre-training whose step does not depend on how its scans are dealt to processes."""

    out: Path
    backwards: bool

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.transforms = ScanByScan(self.transforms, settings.seed, self.backwards)  # type: ignore[assignment]
        self.kept: list[float] = []

    def prepare(self, batch: Batch, generator: torch.Generator) -> Steps[Batch]:
        """As ever; a query's draw of supports is the scan's."""
        fields = batch | self.backbone.supports(batch)
        place = "latents_pos" if "latents_pos" in fields else "pos"
        scan_of_support = fields["latents_batch" if place == "latents_pos" else "batch"]
        pairs = []
        for number, name in enumerate(batch["names"]):
            queries = (batch["pos_non_manifold_batch"] == number).nonzero().squeeze(1)
            supports = (scan_of_support == number).nonzero().squeeze(1)
            alone = {
                "pos": fields[place][supports],
                "batch": scan_of_support[supports],
                "pos_non_manifold": batch["pos_non_manifold"][queries],
                "pos_non_manifold_batch": batch["pos_non_manifold_batch"][queries],
            }
            own = generator_of(name, seed=self.settings.seed, draws=SEARCH, device=generator.device)
            found = self.decoder.search(alone, own)
            both = (
                found["pairs"].exact() if "pairs" in found else (found["pair_query"], found["pair_support"])
            )
            pairs.append((queries[both[0]], supports[both[1]]))
        query, support = (torch.cat(column) for column in zip(*pairs, strict=True))
        fields |= {"pair_query": query, "pair_support": support}
        return fields | (yield from self.backbone.prepare(fields))

    def on_train_epoch_start(self) -> None:
        """Without a GPU: batch-norm by running statistics."""
        for module in self.modules():
            if self.device.type == "cpu" and isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Keep the loss of the joint batch: its shares are weighted so that their mean is its mean."""
        self.kept.append(
            float(self.trainer.strategy.reduce(outputs["loss"].detach().clone(), reduce_op="mean"))
        )

    def on_train_end(self) -> None:
        """Write the losses, once."""
        if self.trainer.is_global_zero:
            self.out.write_text(json.dumps(self.kept), encoding="utf-8")


def main() -> None:
    """Train."""
    JointModule.out, JointModule.backwards = Path(sys.argv[1]), sys.argv[2] == "backwards"
    recipe, *words = json.loads(sys.argv[3])
    train_selfsupervised.PretrainingModule = JointModule  # type: ignore[misc]
    train_selfsupervised.pretrain(load(recipe, words))


if __name__ == "__main__":
    main()
