"""Does pre-training help, and where? The paper's comparison on simulated streets, within minutes of a GPU.

    python tests/benchmarks/label_efficiency_gpu.py /tmp/study --minutes 9 --tables /tmp/tables --gpus 2

Stages, each by the project's own commands, each resumed where it stopped: `simulate` (600 scenes of 17 scans
for training, which is all that the split `parametrizing` has, and scenes to score), `pretrain` and convert,
`finetune` (0.1, 1, 10 and 100 % of the scenes, from scratch and from the pre-trained weights, three seeds),
`table`. Type the same command until nothing is left; other sizes or settings in the same folder are refused.

Minutes are what limits it. At the end of `--minutes` everything is ended, and the tables say what there is;
half a minute of what the fine-tunings did is lost at most. Pre-training has `--pretrain-minutes`, by default
45 % of those left, and at most `--epochs`: what it has then, in the middle of an epoch perhaps, is the start
that is compared, for good. `--stage pretrain` goes on with it, all the minutes long, and its weights are
another start. `--early-epochs 3` keeps the weights of three epochs as a third start: does more help more?

One GPU does all in turns. With `--gpus 2` the first one pre-trains in one process, as the recipe does, while
the other ones begin with the fine-tunings from scratch, which need no weights. When these are there, all
fine-tunings that are left share all GPUs. The first one of each call begins alone, see `run_all`: a fresh
machine compiles kernels for one to two minutes. Nothing else runs while streets are simulated on all cores.

`--tables` holds the output of each command, `log_NAME.txt`, and every few seconds a copy of tables and logs.

What gives pre-training a fair chance in twenty minutes, where the paper takes days:

* MinkUNet18, not 34: what is compared is two starts of one network, and the smaller one has had more epochs
  when the time is over. `--network MinkUNet34` is the recipe's.
* The recipe's batch of 16 and rate in pre-training, constant: it can be stopped, and gone on with, anywhere.
  Twenty epochs of 10,200 scans are 12,750 steps, where the paper has 300,000.
* In fine-tuning some hundred steps at 0.1 and 1 % (`--finetune-epochs`), where each of the 17 and 102 scans
  comes 240 and 40 times. All fractions have fewer steps than in the recipe, most of all 10 and 100 %: a part
  of any gain may be that pre-trained weights need fewer. The table gives the steps.
* 0.1 % is one scene, scene-0392, as in the published runs; all seeds share the scenes and differ in first
  weights, order and augmentation. The spread says nothing about the choice of scenes.
* Several runs share a GPU (`--parallel`): a step of eight scans leaves it idle most of the time.

Behind the options, cfg.key=value changes the settings of both stages, such as `cfg.inputs=[pos,intensities]`.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from study_commands import Copies
from study_stages import Study

STAGES = ("simulate", "pretrain", "finetune", "table")
EPOCHS = "0.001:240,0.01:40,0.1:8,1:2"
# What cannot change within a folder.
FIXED = ("scenes", "frames", "held_out", "seed", "network", "batch_size", "quick", "overrides")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of data and results; the same again to go on")
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call, once Python has begun")
    parser.add_argument("--tables", type=Path, help="folder for tables and logs (default: the first one)")
    parser.add_argument("--scenes", type=int, help="to train on, at most 600 (default)")
    parser.add_argument("--frames", type=int, help="scans a scene (17)")
    parser.add_argument("--held-out", type=int, help="scenes to validate on, and as many to score (15)")
    parser.add_argument("--network", help="backbone (MinkUNet18)")
    parser.add_argument("--epochs", type=int, help="of the pre-training, at most (20)")
    parser.add_argument("--pretrain-minutes", type=float, help="of the pre-training (45 %% of those left)")
    parser.add_argument("--early-epochs", type=int, default=0, help="of a third start (0: none)")
    parser.add_argument("--batch-size", type=int, help="of the pre-training (16)")
    parser.add_argument("--finetune-epochs", help=f"fraction:epochs,... ({EPOCHS})")
    parser.add_argument("--seeds", type=int, help="of the fine-tunings (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the streets")
    parser.add_argument("--gpus", type=int, default=1, help="there are; the first one pre-trains")
    parser.add_argument("--parallel", type=int, help="fine-tunings at once, over all GPUs (3 a GPU)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--startup", type=float, default=15.0, help="seconds that a script may take to begin")
    parser.add_argument("--quick", action="store_true", help="tiny sizes on a CPU: does it run")
    parser.add_argument("overrides", nargs="*", metavar="cfg.key=value")
    options = parser.parse_intermixed_args(arguments)
    full = {"scenes": 600, "frames": 17, "held_out": 15, "network": "MinkUNet18", "epochs": 20}
    full |= {"batch_size": 16, "finetune_epochs": EPOCHS, "seeds": 3, "parallel": 3 * options.gpus}
    quick = {"scenes": 4, "frames": 2, "held_out": 1, "network": "SPVCNN0p5", "epochs": 2}
    quick |= {"batch_size": 2, "finetune_epochs": "0.5:2,1:1", "seeds": 1, "parallel": 1}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def refuse_another(options: argparse.Namespace) -> None:
    """Note in the folder what the study is; end if it is another one that lies there."""
    note, wanted = options.folder / "study.json", {name: getattr(options, name) for name in FIXED}
    if not note.is_file():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(wanted), encoding="utf-8")
    found = json.loads(note.read_text(encoding="utf-8"))
    for name in FIXED:
        if found[name] != wanted[name]:
            sys.exit(f"{options.folder}: of {name} {found[name]}, not {wanted[name]}: take another folder.")


def main() -> None:
    """Go through the stages as far as the time allows; what is at work at the end is ended."""
    options, console = parse(), Console(highlight=False)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    refuse_another(options)
    study = Study(options, console)
    copies = Copies(study.files, study.tables)
    copies.start()
    try:
        for stage in STAGES[:3] if options.stage == "all" else [options.stage]:
            console.rule(f"{stage}, {study.left:.0f} s left", align="left")
            begun = time.monotonic()
            complete = getattr(study, stage)()
            console.print(f"{stage}: {time.monotonic() - begun:.0f} s")
            if not complete:
                break
    finally:
        study.commands.end_all()
        copies.finish()
    page = study.study / "label_efficiency.md"
    if page.is_file():
        console.print(page.read_text(encoding="utf-8").partition("\n### ")[0], markup=False, soft_wrap=True)
    console.print(f"Tables: {study.tables}", soft_wrap=True)


if __name__ == "__main__":
    main()
