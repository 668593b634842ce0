"""Damage files of every kind that the project reads, many times, and watch what their readers do.

Allowed are a result, or a `UserError` that says what is wrong. Anything else is a finding: another error,
more than TIME_LIMIT seconds, more than ROOM bytes, a program started, a connection opened, or a file opened
that lies beside the folder and that tables may have named. Scans and labels are real ones where a folder of
them is given (`--real`), else made up. `--first N` repeats a finding by its number.
"""

import argparse
import logging
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from damage import SECRET, damage, damage_table
from rich.console import Console
from rich.progress import track

from also_selfsup.checkpoints.convert import convert, restore
from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.data.formats import read_kitti_points, read_semantic_labels, read_uint8_labels
from also_selfsup.data.labels import NUSCENES, SEMANTICKITTI
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.once import ONCE
from also_selfsup.data.semantickitti import SemanticKITTI
from also_selfsup.data.simulator import simulate
from also_selfsup.settings.files import load_settings
from also_selfsup.settings.names import UserError
from also_selfsup.settings.run import load

TIME_LIMIT = 20  # seconds an example
ROOM = 3 * 2**30  # bytes above what the process has at the start
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")
WORDS = (
    *("cfg.training.lr=", "cfg.network.extent=", "cfg.inputs=", "+cfg.new=", "~cfg.name", "cfg=", "a=b"),
    *("[", "]", "{", "}", "${", "${oc.env:HOME}", "'", '"', "\\", ",", "=", ":", "1e999", "nan", "-1"),
    *("null", "\0", "é"),
)  # fmt: skip
TABLES = ("sample_data", "sample", "scene", "sensor", "calibrated_sensor", "ego_pose", "lidarseg")


class Findings:
    """Watches readers through Python's audit events, which tell of programs, connections and opened files."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.looking = False
        sys.addaudithook(self._note)
        signal.signal(signal.SIGALRM, self._late)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.looking:
            return
        if event in FORBIDDEN or (event == "open" and SECRET in str(arguments[0])):
            self.seen.append(f"{event} {arguments[:1]}")

    def _late(self, number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {TIME_LIMIT} s")

    def look(self, reader: Callable[[], object]) -> str | None:
        """What a reader did that it must not do; None where it behaved."""
        self.seen, self.looking = [], True
        signal.alarm(TIME_LIMIT)
        try:
            reader()
        except UserError as error:
            if not str(error):
                self.seen.append("an empty message")
        except Exception as error:  # whatever it is, it is what is looked for
            self.seen.append(f"{type(error).__name__}: {error}"[:300])
        finally:
            signal.alarm(0)
            self.looking = False
        return "; ".join(self.seen) or None


class Targets:
    """Files to damage and the readers of them, in a folder of their own; each method is one kind."""

    def __init__(self, folder: Path, real: Path | None) -> None:
        self.folder = folder
        scenes = {"train": 1, "val": 1}
        for layout in ("nuscenes", "semantickitti"):
            simulate(
                folder / layout, layout=layout, scenes=scenes, frames_per_scene=2, azimuth_steps=16, seed=1
            )
        (folder / SECRET).write_bytes(np.ones((50, 5), "<f4").tobytes())
        self.version = next((folder / "nuscenes").glob("*/sample_data.json")).parent
        self.sequence = folder / "semantickitti" / "dataset" / "sequences" / "00"
        self.scan = next(self.sequence.glob("velodyne/*.bin")).read_bytes()
        self.labels = next(self.sequence.glob("labels/*.label")).read_bytes()
        if real is not None:
            start = real / "semantickitti" / "dataset" / "sequences" / "00"
            self.scan = (start / "velodyne" / "000000.bin").read_bytes()[: 16 * 200]
            self.labels = (start / "labels" / "000000.label").read_bytes()[: 4 * 200]
        self.tables = {name: (self.version / f"{name}.json").read_bytes() for name in TABLES}
        self.config = (Path(__file__).parents[2] / "configs" / "cfg" / "kitti3d_second.yaml").read_bytes()
        frames = [{"frame_id": str(n), "sequence_id": "000113", "pose": np.eye(4)} for n in range(3)]
        self.infos = [pickle.dumps(frames, protocol=protocol) for protocol in (0, 2, 4, 5)]
        self.checkpoints = [self._checkpoint(zipped=zipped) for zipped in (True, False)]

    def _checkpoint(self, *, zipped: bool) -> bytes:
        weights = {"backbone.a.kernel": torch.ones(27, 2, 3), "decoder.fc_in.weight": torch.zeros(4, 7)}
        path = self.folder / "whole.ckpt"
        content = {"state_dict": weights, "epoch": 3, "global_step": 7, "hyper_parameters": {"a": [1, "b"]}}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        return path.read_bytes()

    def _write(self, path: Path, data: bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def points(self, numbers: random.Random) -> object:
        return read_kitti_points(self._write(self.folder / "x.bin", damage(self.scan, numbers)))

    def label_files(self, numbers: random.Random) -> object:
        data = damage(self.labels, numbers)
        path, count = self._write(self.folder / "x.label", data), numbers.choice((len(data) // 4, 200))
        if numbers.random() < 0.5:
            raw: Any = read_semantic_labels(path, count=count)
        else:
            raw = read_uint8_labels(path, count=numbers.choice((len(data), 200)))
        try:
            return (SEMANTICKITTI if raw.dtype == np.uint32 else NUSCENES).training(raw)
        except ValueError as error:  # data sets name the file in front of it
            raise UserError(str(error)) from error

    def nuscenes_tables(self, numbers: random.Random) -> object:
        name = numbers.choice(TABLES)
        path = self.version / f"{name}.json"
        path.write_bytes(damage_table(self.tables[name], numbers))
        try:
            data = NuScenes(self.folder / "nuscenes", "train", labels=True, query_frames=numbers.randrange(2))
            return [data[index] for index in range(len(data))]
        finally:
            path.write_bytes(self.tables[name])

    def poses(self, numbers: random.Random) -> object:
        path = self.sequence / numbers.choice(("poses.txt", "calib.txt"))
        whole = path.read_bytes()
        path.write_bytes(damage(whole, numbers))
        try:
            return SemanticKITTI(self.folder / "semantickitti", "train", query_frames=1)[0]
        finally:
            path.write_bytes(whole)

    def once_infos(self, numbers: random.Random) -> object:
        self._write(self.folder / "once" / "once_infos_val.pkl", damage(numbers.choice(self.infos), numbers))
        self._write(self.folder / "once" / "data" / "000113" / "lidar_roof" / "0.bin", self.scan)
        return ONCE(self.folder / "once", "val")[0]

    def cache_of_frames(self, numbers: random.Random) -> object:
        NuScenes(self.folder / "nuscenes", "train")
        path = next((self.folder / "nuscenes" / ".also_selfsup").glob("*.npz"))
        path.write_bytes(damage(path.read_bytes(), numbers))
        found = NuScenes(self.folder / "nuscenes", "train")
        path.unlink()
        return found[0]

    def checkpoint_files(self, numbers: random.Random) -> object:
        data = damage(numbers.choice(self.checkpoints), numbers)
        return read_checkpoint(self._write(self.folder / "x.ckpt", data))

    def converters(self, numbers: random.Random) -> object:
        path = self._write(self.folder / "x.ckpt", damage(self.checkpoints[0], numbers))
        if numbers.random() < 0.5:
            return convert(path, out=self.folder / "converted", downstream=numbers.random() < 0.3)
        return restore(path, out=self.folder / "converted")

    def config_files(self, numbers: random.Random) -> object:
        return load_settings(self._write(self.folder / "config.yaml", damage(self.config, numbers)))

    def command_lines(self, numbers: random.Random) -> object:
        words = ["".join(numbers.choices(WORDS, k=numbers.randrange(1, 5))) for _ in range(2)]
        return load("nuscenes", words)


KINDS = tuple(name for name in vars(Targets) if not name.startswith("_"))


def limit_memory() -> None:
    """A reader that believes an absurd size shall fail here, not bring the machine down."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    """Run, count, print; end with 1 when there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 examples of each kind")
    parser.add_argument("--count", type=int, default=3000, help="examples of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--real", type=Path, help="folder of real scans, with semantickitti/ in it")
    options = parser.parse_args()
    count = 20 if options.quick else options.count
    console, found = Console(), 0
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        targets, findings = Targets(Path(folder), options.real), Findings()
        limit_memory()
        for kind in options.kinds:
            for number in track(range(options.first, options.first + count), kind, console=console):
                reader = getattr(targets, kind)
                finding = findings.look(lambda: reader(random.Random(f"{kind} {number}")))  # noqa: B023
                if finding:
                    found += 1
                    console.print(f"{kind} {number}: {finding}", style="red", markup=False)
    console.print(f"{count * len(options.kinds)} examples, {found} findings")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
