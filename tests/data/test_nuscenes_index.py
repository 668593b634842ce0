"""The key frames of nuScenes: from tables however they are laid out, and from a cache that fits them."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from also_selfsup.data import nuscenes_index, nuscenes_tables
from also_selfsup.data.base import DatasetError
from also_selfsup.data.nuscenes_index import KeyFrames, build_key_frames, open_key_frames

Fake = Any


def listed(frames: KeyFrames) -> list[tuple[str, str, str]]:
    """File, token and scene of each frame."""
    return [
        (file.decode(), token.decode(), frames.scenes[scene].decode())
        for file, token, scene in zip(frames.files, frames.tokens, frames.scene_ids, strict=True)
    ]


def truth(fake: Fake) -> list[tuple[str, str, str]]:
    """The same, by looking everything up in the tables."""
    tables = {name: {row["token"]: row for row in rows} for name, rows in fake.tables.items()}
    scenes = [row["token"] for row in fake.tables["scene"]]
    found = []
    for row in fake.tables["sample_data"]:
        sensor = tables["sensor"][tables["calibrated_sensor"][row["calibrated_sensor_token"]]["sensor_token"]]
        if row["is_key_frame"] and sensor["channel"] == "LIDAR_TOP":
            scene = tables["sample"][row["sample_token"]]["scene_token"]
            entry = (row["filename"], row["token"], tables["scene"][scene]["name"])
            found.append((scenes.index(scene), row["timestamp"], entry))
    return [entry for _, _, entry in sorted(found)]


def test_key_frames_are_those_of_the_tables(fake_nuscenes: Fake) -> None:
    frames = build_key_frames(fake_nuscenes.root / "v1.0-trainval")
    assert len(frames.files) == 9
    assert listed(frames) == truth(fake_nuscenes)


def reversed_fields(rows: list[dict[str, Any]]) -> str:
    return json.dumps([dict(reversed(row.items())) for row in rows], separators=(",", ":"))


def spaced(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=7, separators=(" , ", "\t:\r\n")).replace("[", " \n[ ", 1) + "\n\n"


def braces_in_names(rows: list[dict[str, Any]]) -> str:
    awkward = {"filename": 'a}, {"is_key_frame": true, "b": "{', "is_key_frame": False, "note": "true}"}
    return json.dumps([{**rows[0], **awkward}, *rows])


def nested(rows: list[dict[str, Any]]) -> str:
    extra = {"extra": {"checked": True, "boxes": [{"ok": True}, {"ok": False}]}}
    return json.dumps(
        [{**row, **extra} if number % 2 else {**extra, **row} for number, row in enumerate(rows)]
    )


@pytest.mark.parametrize("layout", [reversed_fields, spaced, braces_in_names, nested])
@pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])
def test_the_layout_of_the_largest_table_does_not_matter(
    fake_nuscenes: Fake, monkeypatch: pytest.MonkeyPatch, layout: Callable[..., str], chunk: int
) -> None:
    monkeypatch.setattr(nuscenes_tables, "CHUNK", chunk)
    fake_nuscenes.table("sample_data").write_text(layout(fake_nuscenes.tables["sample_data"]))
    assert listed(build_key_frames(fake_nuscenes.root / "v1.0-trainval")) == truth(fake_nuscenes)


def test_official_layouts_are_not_read_whole(fake_nuscenes: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    rows = nuscenes_tables.read_rows
    monkeypatch.setattr(nuscenes_tables, "read_rows", lambda path: read.append(path.stem) or rows(path))
    build_key_frames(fake_nuscenes.root / "v1.0-trainval")
    assert sorted(read) == ["calibrated_sensor", "sample", "scene", "sensor"]


@pytest.mark.parametrize("table", ["scene", "sample", "sample_data", "calibrated_sensor", "sensor"])
@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("[{", "no JSON"),
        ('{"a": 1}', "no list"),
        ('[{"token": "a"}]', "(lacks|has no key frames)"),
        ("[1]", "lacks"),
        ("version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ],
)
def test_bad_tables_are_named(fake_nuscenes: Fake, table: str, content: str, finding: str) -> None:
    fake_nuscenes.table(table).write_text(content)
    with pytest.raises(DatasetError, match=f"{table}.json: .*{finding}"):
        build_key_frames(fake_nuscenes.root / "v1.0-trainval")


def test_a_table_cut_short_is_refused(fake_nuscenes: Fake) -> None:
    text = fake_nuscenes.table("sample_data").read_text()
    fake_nuscenes.table("sample_data").write_text(text[: text.rindex("}") + 1])
    with pytest.raises(DatasetError, match="sample_data.json: it is no JSON"):
        build_key_frames(fake_nuscenes.root / "v1.0-trainval")


def test_missing_tables_samples_and_lidars_are_named(fake_nuscenes: Fake) -> None:
    root = fake_nuscenes.root
    fake_nuscenes.tables["sample"].pop()
    fake_nuscenes.write()
    with pytest.raises(DatasetError, match="sample_data.json: .*unknown sample"):
        open_key_frames(root, version="v1.0-trainval")
    fake_nuscenes.tables["sensor"] = []
    fake_nuscenes.write()
    with pytest.raises(DatasetError, match="no key frames of LIDAR_TOP"):
        open_key_frames(root, version="v1.0-trainval")
    fake_nuscenes.table("sensor").unlink()
    with pytest.raises(DatasetError, match="sensor.json: it cannot be read"):
        open_key_frames(root, version="v1.0-trainval")


@pytest.mark.parametrize("name", ["/etc/passwd", "samples/../../secret.bin"])
def test_tables_may_not_lead_out_of_the_root(fake_nuscenes: Fake, name: str) -> None:
    for row in fake_nuscenes.tables["sample_data"]:
        row["filename"] = name
    fake_nuscenes.write()
    for _ in range(2):  # from the tables, then from the cache
        with pytest.raises(DatasetError, match="not below the root"):
            open_key_frames(fake_nuscenes.root, version="v1.0-trainval")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose tables were read."""
    read: list[Path] = []
    build = nuscenes_index.build_key_frames
    monkeypatch.setattr(
        nuscenes_index, "build_key_frames", lambda tables: read.append(tables) or build(tables)
    )
    return read


def reopen(fake: Fake) -> list[tuple[str, str, str]]:
    return listed(open_key_frames(fake.root, version="v1.0-trainval"))


def test_the_cache_answers_the_same_without_the_tables(fake_nuscenes: Fake, builds: list[Path]) -> None:
    assert reopen(fake_nuscenes) == reopen(fake_nuscenes) == truth(fake_nuscenes)
    assert len(builds) == 1
    assert [path.name for path in (fake_nuscenes.root / ".also_selfsup").iterdir()] == [
        "v1.0-trainval_key_frames.npz"
    ]


@pytest.mark.parametrize("table", ["scene", "sample", "sample_data", "calibrated_sensor", "sensor"])
def test_a_changed_table_makes_the_cache_anew(fake_nuscenes: Fake, builds: list[Path], table: str) -> None:
    reopen(fake_nuscenes)
    stat = fake_nuscenes.table(table).stat()
    os.utime(fake_nuscenes.table(table), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    assert reopen(fake_nuscenes) == truth(fake_nuscenes)
    assert len(builds) == 2
    reopen(fake_nuscenes)
    assert len(builds) == 2


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-40], lambda data: b"PK\3\4" + data[9:]]
)
def test_a_damaged_cache_is_made_anew(
    fake_nuscenes: Fake,
    builds: list[Path],
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reopen(fake_nuscenes)
    cache = next((fake_nuscenes.root / ".also_selfsup").iterdir())
    cache.write_bytes(damage(cache.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert reopen(fake_nuscenes) == truth(fake_nuscenes)
    assert "is damaged" in caplog.text
    reopen(fake_nuscenes)
    assert len(builds) == 2


def test_a_cache_of_pickles_is_not_opened(fake_nuscenes: Fake, builds: list[Path]) -> None:
    reopen(fake_nuscenes)
    cache = next((fake_nuscenes.root / ".also_selfsup").iterdir())
    arrays = dict(np.load(cache))
    np.savez(cache, **{**arrays, "files": arrays["files"].astype(object)})
    assert reopen(fake_nuscenes) == truth(fake_nuscenes)
    assert len(builds) == 2


def test_a_root_that_cannot_be_written_has_its_cache_with_the_user(
    fake_nuscenes: Fake, user_cache: Path, builds: list[Path]
) -> None:
    (fake_nuscenes.root / ".also_selfsup").write_text("a file where the folder should be")
    assert reopen(fake_nuscenes) == reopen(fake_nuscenes) == truth(fake_nuscenes)
    assert len(builds) == 1
    assert len(list(user_cache.rglob("*_key_frames.npz"))) == 1


def test_it_works_without_any_cache(
    fake_nuscenes: Fake, user_cache: Path, builds: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    user_cache.write_text("no folder either")
    (fake_nuscenes.root / ".also_selfsup").write_text("no folder")
    assert reopen(fake_nuscenes) == reopen(fake_nuscenes) == truth(fake_nuscenes)
    assert len(builds) == 2
    assert "no cache of the key frames could be written" in caplog.text
