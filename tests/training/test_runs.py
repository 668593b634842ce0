"""Folders of runs, and what cfg.resume finds."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from also_selfsup.settings.files import load_settings
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.names import UserError
from also_selfsup.settings.schema import Settings
from also_selfsup.training import runs
from also_selfsup.training.runs import open_run
from also_selfsup.training.scoring import device_named


def settings_in(folder: Path, resume: str | None = None) -> Settings:
    return replace(Settings(), save_dir=str(folder), resume=resume)


def test_each_run_gets_the_next_version(tmp_path: Path) -> None:
    folders = [open_run(settings_in(tmp_path), "Pretraining", "x").folder for _ in range(2)]
    (tmp_path / "Pretraining" / "x" / "version_10").mkdir()
    folders.append(open_run(settings_in(tmp_path), "Pretraining", "x").folder)
    assert [folder.name for folder in folders] == ["version_0", "version_1", "version_11"]
    assert load_settings(folders[0] / "config.yaml") == settings_in(tmp_path)


def test_auto_takes_the_newest_run_with_a_checkpoint(tmp_path: Path) -> None:
    assert open_run(settings_in(tmp_path, "auto"), "x").checkpoint is None
    for number in (2, 10, 11):
        (tmp_path / "x" / f"version_{number}").mkdir()
    for number in (2, 10):
        (tmp_path / "x" / f"version_{number}" / "last.ckpt").touch()
    run = open_run(settings_in(tmp_path, "auto"), "x")
    assert run.folder == tmp_path / "x" / "version_10"
    assert run.checkpoint == run.last


def test_a_path_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "best.ckpt").touch()
    run = open_run(settings_in(tmp_path, str(tmp_path / "old" / "best.ckpt")), "x")
    assert run.folder == tmp_path / "old"
    with pytest.raises(SettingsError, match="nowhere.ckpt.*no such file"):
        open_run(settings_in(tmp_path, str(tmp_path / "nowhere.ckpt")), "x")


def test_a_folder_to_go_on_from_is_answered_with_its_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a folder without a last.ckpt; name the last.ckpt of a run"):
        open_run(settings_in(tmp_path / "results", str(tmp_path)), "x")
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(SettingsError, match=f"is a folder; name its checkpoint, {tmp_path / 'last.ckpt'}"):
        open_run(settings_in(tmp_path / "results", str(tmp_path)), "x")
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(SettingsError, match="cfg.save_dir=.*cannot write to"):
        open_run(settings_in(tmp_path), "x")


def test_a_disk_that_takes_no_settings_keeps_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Settings, path: Path) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "save_settings", fill)
    with pytest.raises(SettingsError, match="cannot write to .*No space left"):
        open_run(settings_in(tmp_path / "results"), "x")
    assert list(tmp_path.iterdir()) == []


def test_started_processes_join_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_settings: Callable[..., Settings]
) -> None:
    first = open_run(tiny_settings(), "x").folder
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert open_run(tiny_settings(), "x").folder == first


def test_a_device_that_is_not_there_is_named() -> None:
    assert device_named("cpu").type == "cpu"
    with pytest.raises(UserError, match=r"--device abacus: .* Leave it out, or take cpu"):
        device_named("abacus")


@pytest.mark.parametrize("said", ["Torch not compiled with CUDA enabled", "No such device.\nA trace"])
def test_what_torch_says_of_a_device_is_a_sentence(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def refuse(*_: object, device: str) -> None:
        raise AssertionError(said)

    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(UserError) as refused:
        device_named("cuda")
    first = said.splitlines()[0].rstrip(".")
    assert str(refused.value) == f"--device cuda: {first}. Leave it out, or take cpu."
