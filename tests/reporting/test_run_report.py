"""A run's page: written at every validation, true to the logs, and never the end of a training."""

import base64
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from also_selfsup.data.simulator import simulate
from also_selfsup.reporting import occupancy_artist, run_report
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.train_downstream_semseg import finetune
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.epoch_log import read_log
from also_selfsup.training.pretraining import PretrainingModule

TINY = """
cfg.manifold_points=200 cfg.non_manifold_points=60 cfg.network.latent_size=8 cfg.training.batch_size=2
cfg.val_interval=1 cfg.downstream.val_interval=1 cfg.logging.progress_bar=false cfg.trainer.accelerator=cpu
cfg.downstream.skip_ratio=1 cfg.training.max_epochs=1 cfg.downstream.max_epochs=2
""".split()


@pytest.fixture(scope="module")
def settings_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Settings of a tiny run on two streets of one scan each."""
    root = tmp_path_factory.mktemp("data")
    simulate(root, scenes={"train": 2, "val": 2}, frames_per_scene=1, azimuth_steps=60, seed=3)

    def compose(folder: Path, *more: str) -> Settings:
        return load("demo", [*TINY, f"cfg.dataset_root={root}", f"cfg.save_dir={folder}", *more])

    return compose


@pytest.fixture(scope="module")
def pretrained(settings_of: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a pre-training of two epochs."""
    return pretrain(settings_of(tmp_path_factory.mktemp("run"), "cfg.training.max_epochs=2")).folder


@pytest.fixture(scope="module")
def page(pretrained: Path) -> str:
    return (pretrained / "report.html").read_text("utf-8")


def pictures(page: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def test_page_holds_curves_and_pictures_of_the_last_validation(pretrained: Path, page: str) -> None:
    names = "learning losses speed occupancy_epochs occupancy_scan_1 occupancy_scan_2".split()
    assert pictures(page) == [(pretrained / "pictures" / f"{name}.png").read_bytes() for name in names]
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "Left out" not in page
    assert "after epoch 2." in page and "2 of 2 epochs done; the run has ended as planned" in page


def test_figures_are_those_of_the_logs(pretrained: Path, page: str) -> None:
    scores = [float(row["iou"]) for row in read_log(pretrained / "logs_val.csv")]
    assert f"{100 * scores[-1]:.1f} % after epoch 2" in page
    rates = [float(row["scans_per_second"]) for row in read_log(pretrained / "logs_train.csv")]
    assert f'<td class="number">{sum(rates) / 2:.1f}</td>' in page
    assert "2 of the split train" in page and "2 of the 2 of the split val" in page
    assert (pretrained / "config.yaml").read_text("utf-8").splitlines()[0] in page
    assert "convert_models.py --ckpt" in page and "cfg.resume" not in page


def test_tensorboard_has_the_same_pictures(pretrained: Path) -> None:
    events = EventAccumulator(str(pretrained))
    events.Reload()
    tags = ["occupancy/epochs", "occupancy/scan_1", "occupancy/scan_2"]
    assert sorted(events.Tags()["images"]) == tags
    assert [[image.step for image in events.Images(tag)] for tag in tags] == [[2], [1, 2], [1, 2]]


def test_the_folder_holds_what_the_readme_lists(pretrained: Path, root: Path) -> None:
    listed = (root / "README.md").read_text("utf-8").partition("results/\n  Pretraining/")[2]
    lines = [line[:48] for line in listed.partition("pretrained_backbone_200.ckpt")[0].splitlines()[1:]]
    names = {word.rstrip("/") for line in lines for word in line.split()}
    found = {
        "events.out.tfevents..." if "tfevents" in path.name else path.name for path in pretrained.iterdir()
    }
    assert found == names


def test_classes_of_a_fine_tuning_are_those_of_its_log(
    settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = finetune(settings_of(tmp_path)).folder
    page = (folder / "report.html").read_text("utf-8")
    assert len(pictures(page)) == 3 and (folder / "pictures" / "confusion.png").read_bytes() in pictures(page)
    last = read_log(folder / "logs_val.csv")[-1]
    best = max(read_log(folder / "logs_val.csv"), key=lambda row: float(row["miou"]))
    names = [name.removeprefix("iou/") for name in last if name.startswith("iou/")]
    assert len(names) == 16
    for name, column in [*((name, f"iou/{name}") for name in names), ("mean", "miou")]:
        cells = re.search(rf'<th scope="row">{name}</th><td[^>]*>([^<]+)</td><td[^>]*>([^<]+)</td>', page)
        shown = [f"{100 * float(row[column]):.1f}".replace("nan", "–") for row in (last, best)]
        assert cells and list(cells.groups()) == shown, name


def test_failures_of_drawing_do_not_end_the_run(
    settings_of: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any, **keywords: Any) -> None:
        raise RuntimeError("no colours <left>")

    monkeypatch.setattr(occupancy_artist, "occupancy_picture", fail)
    monkeypatch.setattr(run_report, "result", fail)
    with caplog.at_level(logging.WARNING):
        run = pretrain(settings_of(tmp_path, "cfg.logging.tensorboard=false", "cfg.logging.picture_scans=1"))
    assert run.last.is_file()
    page = run.report.read_text("utf-8")
    for part in ("occupancy of validation scan 1", "result"):
        said = f"{part}: left out, because drawing it failed with RuntimeError: no colours"
        assert said in caplog.text and said in page
    assert len(pictures(page)) == 3


def test_a_page_that_cannot_be_written_is_a_warning(
    settings_of: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(run_report, "REPORT", "config.yaml/report.html")  # below a file
    monkeypatch.setattr(run_report, "PICTURES", "config.yaml/pictures")
    with caplog.at_level(logging.WARNING):
        run = pretrain(settings_of(tmp_path, "cfg.logging.tensorboard=false", "cfg.logging.picture_scans=0"))
    assert run.last.is_file() and not run.report.exists()
    assert "page: left out" in caplog.text and "Error" in caplog.text


def test_a_stopped_run_says_why_and_how_to_go_on(
    settings_of: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PretrainingModule.training_step

    def stop(self: PretrainingModule, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 1:
            raise RuntimeError("power <cut>")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PretrainingModule, "training_step", stop)
    settings = settings_of(tmp_path, "cfg.training.max_epochs=3", "cfg.logging.picture_scans=1")
    with pytest.raises(RuntimeError, match="power"):
        pretrain(settings)
    [path] = tmp_path.rglob("report.html")
    page = path.read_text("utf-8")
    assert "1 of 3 epochs done; then the run was stopped by RuntimeError: power &lt;cut&gt;" in page
    assert "cfg.resume=" in page and "cfg.training.max_epochs=3" in page
    assert (path.parent / "pictures" / "occupancy_scan_1.png").read_bytes() in pictures(page)


def test_switched_off(settings_of: Callable[..., Settings], tmp_path: Path) -> None:
    off = ("cfg.logging.report=false", "cfg.logging.tensorboard=false")
    run = pretrain(settings_of(tmp_path, *off))
    assert run.last.is_file() and not run.report.exists() and not (run.folder / "pictures").exists()
