"""Run commands one after the other, each in a process of its own that shares the slow imports.

Reads `{"root": ..., "commands": [{"words": [...], "folder": ...}]}` from standard input, where words are
those behind `python`. Answers one JSON line a command, with status and output; the first failure ends it.
"""

import importlib
import json
import os
import runpy
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

# Libraries of others only: the package itself is imported by each command anew, from the given root.
LIBRARIES = (
    *("torch", "pytorch_lightning", "pytorch_lightning.loggers", "torchmetrics", "torch.utils.tensorboard"),
    *("hydra", "scipy.spatial", "matplotlib.figure", "matplotlib.backends.backend_agg", "rich.progress"),
)


def run(words: list[str], *, root: str) -> None:
    """Do what `python WORDS` does in a process that has nothing of the package yet."""
    sys.path.insert(0, root)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")


def status_of(words: list[str], *, root: str, folder: str, output: Any) -> int:
    """Exit status of a command; what it writes goes to a file."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.chdir(folder)
        run(words, root=root)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer the order on standard input."""
    order = json.load(sys.stdin)
    for name in LIBRARIES:
        importlib.import_module(name)
    for command in order["commands"]:
        with tempfile.TemporaryFile("w+") as output:
            status = status_of(command["words"], root=order["root"], folder=command["folder"], output=output)
            output.seek(0)
            sys.stdout.write(json.dumps({"status": status, "output": output.read()}) + "\n")
        if status != 0:
            break


if __name__ == "__main__":
    main()
