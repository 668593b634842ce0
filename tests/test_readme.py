"""The commands of README.md, typed for real on simulated scans, and every other line that a reader may type.

The commands run in a copy of the checkout, as written and in their order; what is appended only makes them
tiny, and epochs in file names are those of a tiny run.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from also_selfsup.data.nuscenes import SINGLE_SCENE, official_scenes
from also_selfsup.data.semantickitti import published_fractions
from also_selfsup.data.simulator import simulate
from also_selfsup.networks import build_backbone
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "doc").glob("*.md"))]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
TRAINING = ("train_selfsupervised", "train_downstream_semseg")
TINY = """
cfg.manifold_points=300 cfg.non_manifold_points=60 cfg.transforms.grid_size=0.5 cfg.network.voxel_size=0.5
cfg.network.backbone=SPVCNN0p5 cfg.network.latent_size=8 cfg.training.batch_size=2 cfg.downstream.batch_size=2
cfg.training.max_epochs=1 cfg.downstream.max_epochs=1 cfg.val_interval=1 cfg.downstream.val_interval=1
cfg.threads=0 cfg.num_device=1 cfg.trainer.accelerator=cpu cfg.logging.progress_bar=false
cfg.logging.picture_scans=0
""".split()
APPENDED = {
    **dict.fromkeys(TRAINING, TINY),
    "simulator": "--scenes train=1,verifying=1,val=1 --frames-per-scene 2 --azimuth-steps 48 --quiet".split(),
    "eval": ["--device", "cpu"],
    "label_efficiency": [*TINY, "fractions=[1]", "seeds=1"],
    "visualize": ["--device", "cpu", "--cell", "1"],
    "inspect_data": ["cfg.threads=0", "cfg.logging.progress_bar=false"],
}
CLOSING = {
    "train_selfsupervised": r"Next: python also_selfsup/convert_models\.py --ckpt \S+/last\.ckpt",
    "train_downstream_semseg": r"Next: python also_selfsup/convert_models\.py --downstream --ckpt \S+",
    "convert_models": r"next: python also_selfsup/(train_downstream_semseg|eval)\.py .*_001\.ckpt",
    "eval": r"(Scores: \S+trained_model_001_val_scores\.csv|Predictions of 2 scans: \S+)",
    "label_efficiency": r"Written: \S+/LabelEfficiency/nuscenes/label_efficiency\.png",
    "visualize": r"Wrote scene\.html, .* into \S+/visualization/\S+\. Open: \S+/scene\.html",
    "inspect_data": r"All 4 scans were looked at: no problem found\. Report: \S+/nuscenes/report\.html",
    "simulator": r"Simulated scans in (\S+/)?data/street",
}


@dataclass(frozen=True)
class Command:
    """A command line of a page: words as the shell hands them on, folder relative to the root, its block."""

    words: tuple[str, ...]
    folder: str
    block: int

    @property
    def script(self) -> str:
        """File of the script, relative to the root."""
        if self.words[1] != "-m":
            return f"{self.folder}/{self.words[1]}".removeprefix("./")
        module = self.words[2].replace(".", "/")
        return f"{module}/__main__.py" if (ROOT / module).is_dir() else f"{module}.py"

    @property
    def name(self) -> str:
        """Name of the script."""
        return Path(self.script.removesuffix("/__main__.py")).stem

    @property
    def arguments(self) -> list[str]:
        """What comes behind the script."""
        return list(self.words[3 if self.words[1] == "-m" else 2 :])

    @property
    def overrides(self) -> list[str]:
        """Settings that it gives, without the recipe."""
        return [word for word in self.arguments if word.startswith("cfg.")]

    def recipe(self) -> str:
        return next(word.partition("=")[2] for word in self.arguments if word.startswith("cfg="))


def lines_to_type(page: Path) -> Iterator[Command]:
    """The command lines of a page's bash blocks; each block starts in the root."""
    text = page.read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)):
        folder = "."
        for line in block.replace("\\\n", " ").splitlines():
            words = tuple(shlex.split(line, comments=True))
            if words[:1] == ("cd",):
                folder = words[1]
            elif words:
                yield Command(words, folder, number)


def commands(page: Path) -> list[Command]:
    """The python commands of a page, in order."""
    return [command for command in lines_to_type(page) if command.words[0] == "python"]


@cache
def load_command(command: Command, *, changed: bool = True) -> Settings:
    """The settings of a command of training, or of its recipe alone."""
    return load(command.recipe(), command.overrides if changed else [])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout with simulated scans where the real ones belong; too large to be kept."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("also_selfsup", "configs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    make_nuscenes(root / "data" / "nuscenes")
    make_semantickitti(root / "data" / "SemanticKITTI")
    make_published_checkpoint(root / "downloads" / "epoch=199.ckpt")
    yield root
    shutil.rmtree(root)


def make_nuscenes(root: Path) -> None:
    """One scene a split. That of `train` is the one which stands for any fraction; `test` has no labels."""
    scenes = {"train": 1, "verifying": 1, "val": 1}
    simulate(root, scenes=scenes, frames_per_scene=2, azimuth_steps=48, seed=3)
    tables = root / "v1.0-trainval"
    shutil.copytree(tables, root / "v1.0-test")
    rows = json.loads((tables / "scene.json").read_text("utf-8"))
    for version, split, name in (
        ("v1.0-trainval", "parametrizing", SINGLE_SCENE),
        ("v1.0-test", "val", min(official_scenes()["test"])),
    ):
        scenes_of_split = official_scenes()[split]
        renamed = [{**row, "name": name} if row["name"] in scenes_of_split else row for row in rows]
        (root / version / "scene.json").write_text(json.dumps(renamed), encoding="utf-8")


def make_semantickitti(root: Path) -> None:
    """Two frames a split, those of `train` under numbers that the list of 1 % of the labels has."""
    scenes = {"train": 1, "val": 1, "test": 1}
    simulate(root, layout="semantickitti", scenes=scenes, frames_per_scene=2, azimuth_steps=48, seed=3)
    sequence = root / "dataset" / "sequences" / "00"
    for number, listed in enumerate(published_fractions()[100]["00"][:2].tolist()):
        for folder, suffix in (("velodyne", "bin"), ("labels", "label")):
            (sequence / folder / f"{number:06d}.{suffix}").rename(
                sequence / folder / f"{listed:06d}.{suffix}"
            )


def make_published_checkpoint(path: Path) -> None:
    """A Lightning checkpoint of the tiny network; the published ones have the same names."""
    net = build_backbone("SPVCNN0p5", in_channels=1, out_channels=8)
    state = {f"backbone.{name}": value for name, value in net.state_dict().items()}
    path.parent.mkdir()
    torch.save({"state_dict": state, "epoch": 0, "global_step": 1}, path)


def tiny(command: Command) -> list[str]:
    """Words behind `python`, with what makes it tiny."""
    words = [re.sub(r"(pretrained_backbone|trained_model)_\d{3}", r"\1_001", word) for word in command.words]
    going_on = ["cfg.training.max_epochs=2"] if "cfg.resume=auto" in words else []
    return [*words[1:], *APPENDED.get(command.name, []), *going_on]


def test_commands_run_as_written(checkout: Path) -> None:
    readme = commands(README)
    folders = [str(checkout / command.folder) for command in readme]
    order = [{"words": tiny(c), "folder": folder} for c, folder in zip(readme, folders, strict=True)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "commands_in_turn.py")],
        input=json.dumps({"root": str(checkout), "commands": order}),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for number, result in enumerate(results):
        said = f"{shlex.join(readme[number].words)}\n{result['output']}"
        assert result["status"] == 0, said
        last = result["output"].splitlines()[-1]
        assert re.fullmatch(CLOSING[readme[number].name], last), said
        check_next(last.partition("ext: ")[2], readme[number], readme[number + 1 : number + 2])
    assert len(results) == len(readme) >= 20
    runs = {str(path.parent.relative_to(checkout / "results")) for path in checkout.rglob("last.ckpt")}
    assert runs == {
        *(f"Pretraining/{name}/version_0" for name in ("nuscenes", "semantickitti", "street")),
        *(f"Pretraining/nuscenes/version_{number}" for number in (1, 2)),  # another one resumed 0
        *(f"Downstream/nuscenes/pretrained_backbone_001_skip{n}/version_0" for n in (1, 10)),
        "Downstream/semantickitti/pretrained_backbone_001_skip100/version_0",
        "Downstream/street/pretrained_backbone_001_skip1/version_0",
    }
    pages = {path.parent for path in checkout.rglob("report.html")}
    assert {checkout / "results" / run for run in runs} <= pages
    for ending in ("*_lidarseg.bin", "*.label"):
        assert len(list((checkout / "submission").rglob(ending))) == 2


def check_next(said: str, command: Command, following: list[Command]) -> None:
    """The command that a script says comes next is the next one of the README's block, if of its kind."""
    words = shlex.split(said)
    # As modules, the README trains under another name than the recipe's, which a script can but guess.
    if not words or not following or following[0].words[1] == "-m":
        return
    if (following[0].block, following[0].script) == (command.block, words[1]) and "RECIPE" not in said:
        typed = [word.replace("../", "") for word in tiny(following[0])]
        assert set(words[2:]) <= set(typed), f"{said}\n{typed}"


@EACH_PAGE
def test_commands_name_what_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for line in lines_to_type(page):
        assert line.words[0] in {"python", "make", "pip", "pre-commit"}, line
        assert line.words[0] != "make" or set(line.words[1:]) <= set(targets), line
    for command in commands(page):
        if command.words[1:3] in {("-m", "pytest"), ("-m", "ruff"), ("-m", "mypy")}:
            continue
        source = (ROOT / command.script).read_text("utf-8")
        if command.name in TRAINING:
            load_command(command)
            known = {f"cfg={command.recipe()}", *command.overrides, "--cfg", "job"}
            assert set(command.arguments) <= known, command
        else:
            assert all(f'"{word}"' in source for word in command.arguments if word.startswith("--")), command


def test_epochs_in_the_readme_are_those_of_its_commands() -> None:
    trained = ""
    for command in commands(README):
        numbers = dict(re.findall(r"(pretrained_backbone|trained_model)_(\d{3})", " ".join(command.words)))
        if command.name in TRAINING:
            trained = f"{load_command(command).downstream.max_epochs:03d}"
            pretrained = f"{load_command(command, changed=False).training.max_epochs:03d}"
            assert numbers.get("pretrained_backbone") in {None, pretrained}, command
        assert numbers.get("trained_model") in {None, trained}, command
