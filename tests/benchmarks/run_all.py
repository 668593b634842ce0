"""`make bench`: every benchmark of this folder that needs no GPU, each in a process of its own."""

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console

# Shortest first; each prints a table of what it found in one run, the last three counts and growth.
BENCHMARKS = (
    "transforms",
    "run_report",
    "decoder",
    "sparseconv_cpu",
    "simulator",
    "nuscenes_index",
    "fuzz",
    "kills",
    "long_run",
)


def main() -> None:
    """Run them; end with the number of those that failed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks that need no GPU.")
    parser.add_argument("--quick", action="store_true", help="small sizes: do they run, not what they say")
    options = parser.parse_args()
    console, failed = Console(), 0
    for name in BENCHMARKS:
        console.rule(f"{name} (python tests/benchmarks/{name}.py)")
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py"))]
        failed += (
            subprocess.run([*command, *(["--quick"] if options.quick else [])], check=False).returncode != 0
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
