"""After the demo: its pictures and its page. What the page says is computed from what came out."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from also_selfsup.checkpoints.next_command import convert_command, evaluate_command, short
from also_selfsup.data.scan import Scan
from also_selfsup.data.simulator.once import Simulation
from also_selfsup.reporting.comparison import Comparison
from also_selfsup.reporting.curves import Curve, Panel, curve_picture
from also_selfsup.reporting.occupancy import Plane, ask_planes
from also_selfsup.reporting.pictures import occupancy_picture
from also_selfsup.reporting.report import Commands, Picture, Section, Table, Text
from also_selfsup.settings.schema import Settings
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import Run

# How the two starts of fine-tuning are called in words.
STARTS = {"scratch": "from scratch", "pretrained": "from pre-trained weights"}
# In the sensor frame, 1.84 m above the road: the first plane cuts through cars and people.
PLANES = (
    Plane(across="z", at=-1.2, horizontal=(-30.0, 30.0), vertical=(-18.0, 18.0), cell=0.15),
    Plane(across="y", at=0.0, horizontal=(-30.0, 30.0), vertical=(-3.0, 6.0), cell=0.1),
)


@dataclass(frozen=True)
class Demo:
    """What was done and what came out.

    Attributes:
        folder: Of data, results and report.
        settings: Of the pre-training; the fine-tunings differ in seed and start.
        overrides: Settings that differ from the recipe, as typed on a command line.
        simulation: What was simulated.
        labelled: Labelled scans that the fine-tunings saw.
        pretraining: The run.
        weights: The converted backbone.
        runs: Fine-tunings by start (`STARTS`), in the order of the seeds.
        comparison: Their scores at full resolution.
        seconds: Wall-clock time of each phase.
    """

    folder: Path
    settings: Settings
    overrides: Sequence[str]
    simulation: Simulation
    labelled: int
    pretraining: Run
    weights: Path
    runs: Mapping[str, Sequence[Run]]
    comparison: Comparison
    seconds: Mapping[str, float]


def draw(demo: Demo, *, module: PretrainingModule, scan: Scan) -> list[Picture]:
    """Draw occupancy, pre-training and fine-tuning into the demo's folder, in this order."""
    occupancy = occupancy_picture(
        scan, PLANES, answers=ask_planes(module, scan, PLANES), path=demo.folder / "occupancy.png"
    )
    radius = demo.settings.network.radius
    return [
        Picture(
            occupancy,
            "One validation scan, which no training has seen, and what the pre-trained network predicts "
            "around it: pale blue is free space, orange is occupied. Hatched grey is unknown: no lidar point "
            f"lies within {radius:g} m, so the network is not asked. No label was used to learn this.",
            "Predicted occupancy around one scan, seen from above and as a vertical slice.",
        ),
        Picture(
            _pretraining_curves(demo),
            "Pre-training. Left: the loss that is minimised. Right: how well free and occupied space are "
            "told apart (intersection over union, mean of both).",
            "Two plots over optimiser steps: loss and occupancy IoU, on training and validation scans.",
        ),
        Picture(
            _finetuning_curves(demo),
            "Fine-tuning on few labels, with equal steps from both starts. Right: the score on the thinned "
            "points of the validation scans while training; the table above counts every point.",
            "Two plots over optimiser steps: loss and mean IoU, from scratch and from pre-trained weights.",
        ),
    ]


def sections(demo: Demo, pictures: Sequence[Picture]) -> list[Section]:
    """The page, from the pictures of `draw`."""
    occupancy, pretraining, finetuning = pictures
    comparison = demo.comparison
    return [
        Section("Does pre-training help?", [
            Text(comparison.verdict(), emphasis=True),
            Text(_setting_in_words(demo)),
            Table(comparison.header(), comparison.rows(), "Mean IoU of the validation scans, every point "
                  "counted, in percent. Spread: standard deviation over the seeds."),
        ]),
        Section("What the network has learnt without labels", [occupancy]),
        Section("Learning curves", [pretraining, finetuning]),
        Section("Class by class", [
            Table(["class", "from scratch", "pre-trained", "gain"], comparison.class_rows(),
                  "IoU in percent, mean over the seeds, and the difference in points. "
                  "“–”: no validation point has this label."),
        ]),
        Section("Sizes, seeds and times", [
            Table(["what", "value"], _sizes(demo), "What was run."),
            Table(["phase", "seconds"], _times(demo), "Wall-clock time on this machine."),
        ]),
        Section("Each phase by hand", [
            Text("Type these from the root of the checkout. Each command ends by naming the next one."),
            Commands(_commands(demo)),
        ]),
    ]  # fmt: skip


def _pretraining_curves(demo: Demo) -> Path:
    logs = {"training scans": "logs_train.csv", "validation scans": "logs_val.csv"}

    def curves(column: str, scale: float = 1.0) -> list[Curve]:
        folder = demo.pretraining.folder
        return [Curve(name, [folder / file], column, scale=scale) for name, file in logs.items()]

    panels = [
        Panel("Pre-training loss", "cross-entropy (nats) + intensity error", curves("loss")),
        Panel("Predicted occupancy", "IoU of free and occupied (%)", curves("iou", 100)),
    ]
    return curve_picture(panels, demo.folder / "pretraining.png")


def _finetuning_curves(demo: Demo) -> Path:
    def curves(file: str, column: str, scale: float = 1.0) -> list[Curve]:
        return [
            Curve(words, [run.folder / file for run in demo.runs[start]], column, scale=scale)
            for start, words in STARTS.items()
        ]

    panels = [
        Panel("Fine-tuning loss, training scans", "cross-entropy (nats)", curves("logs_train.csv", "loss")),
        Panel("Fine-tuning score, validation scans", "mIoU (%)", curves("logs_val.csv", "miou", 100)),
    ]
    return curve_picture(panels, demo.folder / "finetuning.png")


def _setting_in_words(demo: Demo) -> str:
    scans, frames = demo.simulation.scenes, demo.simulation.frames_per_scene
    settings, seeds = demo.settings, len(demo.comparison.seeds)
    return (
        f"{settings.network.backbone} was pre-trained on {scans['train'] * frames} simulated scans without "
        f"labels, then fine-tuned on {demo.labelled} labelled ones, and from scratch on the same, each with "
        f"{seeds} seed{'s' if seeds > 1 else ''}. Both were scored on {scans['val'] * frames} other scans."
    )


def _sizes(demo: Demo) -> list[list[str]]:
    settings, simulation = demo.settings, demo.simulation
    frames = simulation.frames_per_scene
    before, after = settings.training, settings.downstream
    values = {
        "scans for pre-training, without labels": simulation.scenes["train"] * frames,
        "labelled scans for fine-tuning": demo.labelled,
        "scans for validation": simulation.scenes["val"] * frames,
        "backbone": settings.network.backbone,
        "voxel size": f"{settings.network.voxel_size} m",
        "points a scan": f"at most {settings.manifold_points}",
        "occupancy queries a scan": settings.non_manifold_points,
        "pre-training": f"{before.max_epochs} epochs, batches of {before.batch_size} scans",
        "fine-tuning, both starts": f"{after.max_epochs} epochs, batches of {after.batch_size} scans",
        "seed of the streets": simulation.seed,
        "seed of the pre-training": settings.seed,
        "seeds of the fine-tunings": ", ".join(map(str, demo.comparison.seeds)),
    }
    return [[name, str(value)] for name, value in values.items()]


def _times(demo: Demo) -> list[list[str]]:
    rows = [[phase, f"{seconds:.1f}"] for phase, seconds in demo.seconds.items()]
    return [*rows, ["total", f"{sum(demo.seconds.values()):.1f}"]]


def _commands(demo: Demo) -> list[str]:
    seed = demo.comparison.seeds[0]
    train = ["cfg=demo", *demo.overrides]
    finetune = ["python", "also_selfsup/train_downstream_semseg.py", *train, f"cfg.seed={seed}"]
    start = [
        f"cfg.downstream.checkpoint_dir={short(demo.weights.parent)}",
        f"cfg.downstream.checkpoint_name={demo.weights.name}",
    ]
    tuned = demo.runs["pretrained"][0]
    model = tuned.folder / f"trained_model_{demo.settings.downstream.max_epochs:03d}.ckpt"
    return [
        "# simulate",
        demo.simulation.command(demo.settings.dataset_root),
        "# pre-train, and take the backbone out",
        shlex.join(["python", "also_selfsup/train_selfsupervised.py", *train]),
        convert_command(demo.pretraining.last),
        "# fine-tune from scratch, and from the pre-trained weights",
        shlex.join(finetune),
        shlex.join([*finetune, *start]),
        "# evaluate every point",
        convert_command(tuned.last, downstream=True),
        evaluate_command(model, demo.settings),
    ]
