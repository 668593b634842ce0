"""For label_efficiency_gpu.py: scripts of the package as processes that end in time, and what they leave.

Each command has a process group of its own and a file for its output. A thread copies the files that matter
every few seconds, so that they are there when the machine is taken away.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from trainings import environment

# Ended as planned; by SIGTERM, with a checkpoint; by SIGTERM before Python could do anything about it.
ENDED = (0, 128 + signal.SIGTERM, -signal.SIGTERM)
LAST_LINES = 30
COPY_SECONDS = 5.0


@dataclass(frozen=True)
class Command:
    """A script on its way, and the file of its output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Commands:
    """Starts scripts, waits for them, and ends them.

    Args:
        logs: Folder of their outputs, `log_NAME.txt`; what is there goes on.
        console: To say what is going on.
    """

    def __init__(self, logs: Path, console: Console) -> None:
        self.logs, self.console = logs, console
        self.running: list[Command] = []

    def start(self, name: str, module: str, words: Sequence[str], *, gpus: Sequence[str]) -> Command:
        """Start `also_selfsup.module` with these words; it sees these GPUs alone."""
        arguments = ["-m", f"also_selfsup.{module}", *words]
        shown = shlex.join(["python", *arguments])
        self.console.print(f"{name}: {shown}", soft_wrap=True, style="dim", markup=False)
        visible = ",".join(gpus)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"log_{name}.txt"
        with log.open("a", encoding="utf-8") as file:
            file.write(f"CUDA_VISIBLE_DEVICES={visible} {shown}\n")
            file.flush()
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**environment(), "CUDA_VISIBLE_DEVICES": visible},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(command := Command(name, process, log))
        return command

    def wait(self, command: Command, *, until: float) -> bool:
        """Wait for a command's end; False if it is still at work then (seconds of time.monotonic()).

        Raises:
            SystemExit: It failed, or another one that was at work.
        """
        while True:
            for one in [one for one in self.running if one.process.poll() is not None]:
                self._check(one, (0,))
            if command not in self.running:
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.1)

    def stop(self, command: Command, *, seconds: float) -> None:
        """Ask a training to end after its step, with a checkpoint, and end it after so many seconds.

        Raises:
            SystemExit: It failed.
        """
        command.process.send_signal(signal.SIGTERM)  # to it alone: loaders that end first are an error
        try:
            command.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.console.print(f"{command.name} did not stop in {seconds:.0f} s and was ended.")
            self.end(command)
        else:
            self._check(command, ENDED)

    def end(self, command: Command) -> None:
        """End a command and all that it started, at once, if it is still at work."""
        with suppress(ProcessLookupError):  # none of them is left
            os.killpg(command.process.pid, signal.SIGKILL)
        command.process.wait()
        if command in self.running:
            self.running.remove(command)

    def end_all(self) -> None:
        """End what is at work."""
        for command in list(self.running):
            self.end(command)

    def _check(self, command: Command, statuses: Sequence[int]) -> None:
        """What is left of a command that has ended is ended too; its status must be one of these."""
        self.end(command)
        if command.process.returncode not in statuses:
            lines = command.log.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[-LAST_LINES:]:
                self.console.print(line, soft_wrap=True, markup=False)
            sys.exit(f"{command.name} failed with status {command.process.returncode}: {command.log}")


class Copies(threading.Thread):
    """Copies files every few seconds, those that changed.

    Args:
        files: Says which there are by now.
        folder: To copy to.
    """

    def __init__(self, files: Callable[[], Iterable[Path]], folder: Path) -> None:
        super().__init__(daemon=True)
        self.files, self.folder = files, folder
        self.over = threading.Event()

    def run(self) -> None:
        """Copy until the end."""
        while not self.over.wait(COPY_SECONDS):
            self.copy()

    def finish(self) -> None:
        """Copy a last time, and end."""
        self.over.set()
        self.join()
        self.copy()

    def copy(self) -> None:
        """Copy what is not there, or changed; a copy is whole or the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.files():
            copy = self.folder / path.name
            if not copy.is_file() or copy.stat().st_mtime_ns != path.stat().st_mtime_ns:
                partial = copy.with_name(f"{copy.name}.partial")
                shutil.copy2(path, partial)
                partial.replace(copy)
