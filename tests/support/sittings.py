"""Folders that `bench` has measured into, for the benchmarks in `tests/benchmarks`."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.analysis.recorded import Recorded, latest


class Sitting(NamedTuple):
    """What one way of measuring put on record; `began_s` is its begin by the monotonic clock."""

    began_s: float
    recorded: Recorded


def measured(folder: Path, *commands: tuple[str, ...]) -> Sitting:
    """Measure into a folder, unless it is complete, and read it."""
    mark = folder / "began"
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a program that was killed
        began = time.monotonic()
        for command in commands:
            where = [str(folder)] if command[0] == "settle" else ["--out", str(folder)]
            subprocess.run([sys.executable, "-m", "bench", *command, *where], check=True)
        mark.write_text(str(began))
    (recorded,) = latest(folder)
    return Sitting(float(mark.read_text()), recorded)
