"""The demo at its smallest: every step, every file, and a page that says what the score files say."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from also_selfsup.data.simulator.once import Simulation, simulate_once
from also_selfsup.demo import conclude, run_demo
from also_selfsup.reporting.demo_page import STARTS, Demo

TINY = Simulation(scenes={"train": 1}, frames_per_scene=1, azimuth_steps=30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(folder, quick=True, seeds=[3], console=Console(file=io.StringIO()))


def scores(demo: Demo, start: str) -> dict[str, str]:
    [path] = demo.runs[start][0].folder.glob("trained_model_*_val_scores.csv")
    with path.open(encoding="utf-8") as file:
        return {row["class"]: row["iou"] for row in csv.DictReader(file)}


def test_leaves_report_and_pictures(demo: Demo) -> None:
    assert "<h1>" in (demo.folder / "report.html").read_text(encoding="utf-8")
    for name in ("occupancy.png", "pretraining.png", "finetuning.png"):
        assert (demo.folder / name).read_bytes().startswith(b"\x89PNG")


def test_starts_differ_in_their_weights_only(demo: Demo) -> None:
    assert [len(demo.runs[start]) for start in STARTS] == [1, 1]
    texts = {start: (runs[0].folder / "config.yaml").read_text("utf-8") for start, runs in demo.runs.items()}
    lines = {start: set(text.splitlines()) for start, text in texts.items()}
    differing = {line.strip().partition(":")[0] for line in lines["scratch"] ^ lines["pretrained"]}
    assert differing == {"checkpoint_dir", "checkpoint_name"}
    assert demo.weights.name in texts["pretrained"] and "seed: 3" in texts["scratch"]


def test_tables_are_the_score_files(demo: Demo) -> None:
    page = (demo.folder / "report.html").read_text(encoding="utf-8")
    rows = {row[0]: row[1:] for row in demo.comparison.rows()}
    classes = {row[0]: row[1:] for row in demo.comparison.class_rows()}
    for column, (start, row) in enumerate((("scratch", "from scratch"), ("pretrained", "pre-trained"))):
        found = scores(demo, start)
        mean = f"{100 * float(found['mean']):.1f}"
        assert rows[row][1] == mean
        assert f'<th scope="row">{row}</th><td class="number">{mean}</td>' in page
        assert len(classes) == 16
        for name, values in classes.items():
            assert values[column] == (f"{100 * float(found[name]):.1f}" if found[name] else "–")


def test_page_tells_sizes_seeds_times_and_commands(demo: Demo) -> None:
    page = (demo.folder / "report.html").read_text(encoding="utf-8")
    for words in (
        "simulating streets",
        "scans for pre-training, without labels</th><td>4</td>",
        "labelled scans for fine-tuning</th><td>2</td>",
        "python -m also_selfsup.data.simulator --root",
        "train_selfsupervised.py cfg=demo",
        f"cfg.downstream.checkpoint_name={demo.weights.name}",
        "eval.py --split val",
    ):
        assert words in page
    assert demo.comparison.verdict() in page


def test_terminal_ends_with_table_and_places(demo: Demo) -> None:
    text = io.StringIO()
    conclude(demo, Console(file=text, width=200))
    shown = text.getvalue()
    assert demo.comparison.verdict() in shown
    assert f"{100 * float(scores(demo, 'scratch')['mean']):.1f}" in shown
    assert shown.rstrip().endswith(str(demo.folder / "report.html"))


def test_simulates_anew_only_when_it_must(tmp_path: Path) -> None:
    root = tmp_path / "data"
    simulate_once(root, TINY, workers=1)
    (root / "sign").write_text("kept")
    simulate_once(root, TINY, workers=1)
    assert (root / "sign").is_file()
    simulate_once(root, replace(TINY, seed=1), workers=1)
    assert not (root / "sign").exists()
    (root / "sign").write_text("from a run that was interrupted")
    (tmp_path / "data.json").unlink()
    simulate_once(root, replace(TINY, seed=1), workers=1)
    assert not (root / "sign").exists()


def test_leaves_a_foreign_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        simulate_once(tmp_path / "data", TINY, workers=1)
    assert (tmp_path / "data" / "thesis.txt").read_text() == "mine"
