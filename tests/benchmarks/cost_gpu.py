"""How the cost of native sparse convolution grows with scans of a batch, voxels and channels, on one GPU.

    python tests/benchmarks/cost_gpu.py /tmp/streets --simulate 40 --peer --out cost.csv --plot cost.png

Forward and backward of a backbone in bf16, recorded and with tables made ahead as in training: on batches of
more and more scans, and on the recipe's batch in smaller and smaller cells, without a limit of points. These
are times on the wall, the device waited for at both ends. spconv, where it is installed, computes in fp16 on
the same voxels, in turns, and makes its tables in the pass. Peaks are of the tensors that live at once:
weights, tables and features, not the batch. The CSV says whether passes were recorded.

Then a single 3x3x3 layer on the recipe's batch with more and more channels, in time of the device. Its share
is that of the rate of bare bf16 products of the same arithmetic, one of all pairs a direction, with operands
in place. With few channels those move more memory than the layer does, and the share may be above 1.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from cost_measuring import (
    Clock,
    LayerCost,
    NetworkCost,
    batch_of,
    cloud_of,
    fitting,
    layer_cost,
    network_costs,
)
from cost_report import NO_MEMORY, PARTS, Row, layer_table, network_table, plot
from rich.console import Console
from trainings import add_arguments, make_scans, words_of

from also_selfsup.data.scan import Scan
from also_selfsup.settings.names import MissingLibraryError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.sparseconv import get_backend
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.epoch_log import write_log


@dataclass(frozen=True)
class Sizes:
    """What is measured: scans of a batch, edges of the cells in metres, channels of a layer."""

    scans: tuple[int, ...]
    grid_sizes: tuple[float, ...]
    channels: tuple[int, ...]


FULL = Sizes((1, 2, 4, 8, 16, 32), (0.2, 0.1, 0.07, 0.05), (16, 32, 64, 96, 128, 192, 256, 384))
TINY = Sizes((1, 2), (0.8, 0.4), (16, 32))
# More than a scan has.
ALL_POINTS = 1_000_000


class Sweeps:
    """The measurements, one after the other; `rows` are the lines of the CSV so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.sizes = options, TINY if options.quick else FULL
        self.frameworks = ["native", *(["spconv"] if options.peer else [])]
        device = torch.device("cpu" if options.quick else "cuda")
        self.clock = Clock(device, options.steps, warm_up=1 if options.quick else 5)
        self.settings = self._settings_of()
        known = open_dataset(self.settings, self.settings.train_split, labels=False)
        self.size = self.settings.training.batch_size
        most = max(*self.sizes.scans, self.size)
        self.scans = [known[number % len(known)] for number in range(most)]
        self.rows: list[Row] = []

    def networks(self) -> Iterator[Row]:
        """Rows by scans of a batch, then by size of the cells."""
        for count in self.sizes.scans:
            yield from self._network("scans", self.settings, self.scans[:count])
        for edge in self.sizes.grid_sizes:
            words = [f"cfg.transforms.grid_size={edge}", f"cfg.network.voxel_size={edge}"]
            settings = self._settings_of(*words, f"cfg.manifold_points={ALL_POINTS}")
            yield from self._network("grid size", settings, self.scans[: self.size])

    def layers(self) -> Iterator[Row]:
        """Rows by channels."""
        cloud, pairs = cloud_of(batch_of(self.settings, self.scans[: self.size], device=self.clock.device))
        for channels in self.sizes.channels:
            cost = layer_cost(cloud, pairs, channels=channels, clock=self.clock)
            known = {"sweep": "channels", "framework": "native", "scans": self.size}
            known |= {"grid_size": self.settings.transforms.grid_size, "voxels": len(cloud.coords)}
            yield self._kept(known | layer_figures(cost))

    def _settings_of(self, *words: str) -> Settings:
        own = [*words_of(self.options, "results"), f"cfg.network.backbone={self.options.network}"]
        return load(self.options.recipe, [*own, *words])

    def _network(self, sweep: str, settings: Settings, scans: list[Scan]) -> Iterator[Row]:
        """A row a framework."""
        fields = fitting(lambda: batch_of(settings, scans, device=self.clock.device))
        costs = dict.fromkeys(self.frameworks, NetworkCost())
        if fields is not None:
            measured = fitting(
                lambda: network_costs(settings, fields, frameworks=self.frameworks, clock=self.clock)
            )
            costs = measured or costs
        voxels = None if fields is None else len(fields["voxel_x"])
        for name, cost in costs.items():
            known = {"sweep": sweep, "framework": name, "scans": len(scans)}
            known |= {"grid_size": settings.transforms.grid_size, "voxels": voxels}
            yield self._kept(known | network_figures(cost))

    def _kept(self, row: Row) -> Row:
        self.rows.append(row)
        if self.options.out:  # at once: what comes next may fail
            write_log(self.options.out, self.rows)
        return row


def network_figures(cost: NetworkCost) -> Row:
    """Columns of the CSV."""
    found = {"ms": cost.ms, "tables_ms": cost.tables_ms, "peak_gib": cost.peak_gib, "recorded": cost.recorded}
    return {**found, "note": NO_MEMORY if cost.ms is None else ""}


def layer_figures(cost: LayerCost) -> Row:
    """Columns of the CSV."""
    found: Row = {"pairs": cost.pairs, "channels": cost.channels, "note": "" if cost.ms else NO_MEMORY}
    for column, (part, _) in PARTS.items() if cost.ms else ():
        begin = column.removesuffix("ms")
        found |= {column: cost.ms[part], f"dense_{column}": cost.ms[f"dense {part}"]}
        found |= {f"{begin}tflops": cost.tflops(part), f"{begin}share": cost.share(part)}
    return found


def parse() -> argparse.Namespace:
    """Read the command line; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--network", help="backbone whose latents belong to points (MinkUNet34)")
    parser.add_argument("--steps", type=int, help="that medians are taken of (15)")
    parser.add_argument("--peer", action="store_true", help="spconv's backbone too")
    parser.add_argument("--out", type=Path, metavar="FILE.csv")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    options = parser.parse_intermixed_args()
    full, quick = {"network": "MinkUNet34", "steps": 15}, {"network": "MinkUNet18", "steps": 2}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.steps < 1:
        parser.error("a median needs a step")
    if not options.quick and not torch.cuda.is_available():
        parser.error("there is no GPU; --quick runs on a CPU")
    if options.peer and options.quick:
        parser.error("--peer needs a GPU: spconv cannot train on a CPU")
    if options.peer:
        try:
            get_backend("spconv")
        except MissingLibraryError as error:
            parser.error(str(error))
    return options


def main() -> None:
    """Simulate if asked for, measure, print."""
    options, console = parse(), Console(width=120, highlight=False)
    make_scans(options)
    sweeps = Sweeps(options)
    place = "CPU" if options.quick else torch.cuda.get_device_name()
    title = f"{options.network}, forward + backward, {place}, medians of {options.steps} steps"
    console.print(network_table(list(sweeps.networks()), title))
    layers = list(sweeps.layers())
    of = f"{layers[0]['voxels']} voxels, {layers[0]['pairs']} pairs"
    console.print(layer_table(layers, f"one 3x3x3 layer, bf16, {of}, {place}"))
    if options.plot:
        plot(options.plot, sweeps.rows)


if __name__ == "__main__":
    main()
