"""The way to a detector: commands of doc/detection.md and the README name what there is, here and elsewhere.

Blocks of `sh` are not run, because they need other checkouts: OpenPCDet's and mmdet3d's options are written
out here, from their own argument parsers.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from also_selfsup.checkpoints.handover import FORMATS, export
from also_selfsup.checkpoints.mmdet3d import MINKUNET_NAMES, SECOND_NAMES
from also_selfsup.checkpoints.next_command import detect_command
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.checkpoints.second import SHAPES
from also_selfsup.convert_models import parse
from also_selfsup.networks import BACKBONES, build_backbone
from also_selfsup.settings.run import load, recipes

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "doc" / "detection.md"]
FOREIGN = {
    "OpenPCDet/tools/train.py": {
        *(
            "--cfg_file",
            "--batch_size",
            "--epochs",
            "--pretrained_model",
            "--extra_tag",
            "--ckpt",
            "--workers",
        )
    },
    "OpenPCDet/tools/test.py": {"--cfg_file", "--batch_size", "--ckpt", "--extra_tag"},
    "OpenPCDet/pcdet.datasets.kitti.kitti_dataset": set(),
    "OpenPCDet/pcdet.datasets.once.once_dataset": {"--func", "--cfg_file"},
    "mmdetection3d/tools/train.py": {"--cfg-options"},
}
CONFIGS = {f"cfgs/{data}_models/{name}.yaml" for data in ("kitti", "once") for name in ("second", "pv_rcnn")}


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Script (with its folder) and arguments of every python command in the page's `sh` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for block in blocks:
        folder = ""
        lines = block.replace("\\\n", " ").replace(" && ", "\n").splitlines()
        for words in (shlex.split(line, comments=True) for line in lines):
            if words[:1] == ["cd"]:
                folder = f"{words[1]}/"
            elif words[:1] == ["python"]:
                start = 2 if words[1] == "-m" else 1
                yield folder + words[start], words[start + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands(page: Path) -> None:
    found = list(commands(page))
    for script, arguments in found:
        options = {word for word in arguments if word.startswith("--")}
        if script == "also_selfsup/convert_models.py":
            assert parse(arguments).ckpt.suffix in {".ckpt", ".pth"}
        elif script == "also_selfsup/train_selfsupervised.py":
            load(arguments[0].removeprefix("cfg="), arguments[1:])
        else:
            assert options <= FOREIGN[script], script
            configs = {word for word in arguments if word.startswith("cfgs/")}
            assert configs <= CONFIGS and bool(configs) == script.startswith("OpenPCDet/tools/")
    assert {script for script, _ in found} >= {"also_selfsup/convert_models.py", "OpenPCDet/tools/train.py"}


def test_recipes_of_the_commands() -> None:
    asked = {
        word[4:] for page in PAGES for _, words in commands(page) for word in words if word[:4] == "cfg="
    }
    rows = re.findall(r"^\| `(\w+)` \| \w", PAGES[1].read_text("utf-8"), re.MULTILINE)
    asked |= {name for name in rows if name not in FORMATS}
    assert asked <= set(recipes())
    assert sum(load(recipe).network.backbone == "SECOND" for recipe in asked) == 4


def test_printed_command_is_that_of_the_pages() -> None:
    settings = load("nuscenes", ["cfg.dataset_name=KITTI3D"])
    printed = shlex.split(detect_command(Path("/path/to/pretrained_backbone_500.ckpt"), settings))
    assert printed[:3] == ["cd", "OpenPCDet/tools", "&&"] and printed[3:5] == ["python", "train.py"]
    for page in PAGES:
        assert ("OpenPCDet/tools/train.py", printed[5:]) in list(commands(page))


def test_table_of_formats() -> None:
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in PAGES[1].read_text("utf-8").splitlines()
        if re.match(r"\| \| `also`|\| (SECOND|MinkUNet18\w*, \w+.*) \|", line)
    ]
    assert rows[0][1:] == list(FORMATS) and len(rows) == 4
    listed = {
        name: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:] for name in row[0].split(", ")
    }
    assert set(BACKBONES) | {"SECOND"} == set(listed)
    for name, answers in listed.items():
        state = {entry: torch.zeros(shape) for entry, shape in SHAPES.items()}
        if name != "SECOND":
            state = build_backbone(name, in_channels=1, out_channels=2).state_dict()
        for library, answer in answers.items():
            if answer == "no":
                with pytest.raises(CheckpointError):
                    export(state, library)
            else:
                assert answer == "yes" and len(export(state, library)[0]) >= len(state) - 2


def test_table_of_names() -> None:
    text = PAGES[1].read_text("utf-8").partition("Names in mmdet3d")[2]
    table = SECOND_NAMES | MINKUNET_NAMES
    pairs = re.findall(r"^\| `([\w.]+\.)` \| `([\w.]+\.)`", text, re.MULTILINE)
    assert len(pairs) == 4 and all(table[ours] == theirs for ours, theirs in pairs)
