"""How much longer does a table take on a fleet of one worker than in `bench run`?

Run: PYTHONPATH=tests python tests/benchmarks/fleet_overhead.py [PAIRS]

Table 6 on the simulated device, whose blocks take PACE_S each, by both ways in turns, each with its
report. The bar: at most 2 % longer.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.fleets import Fleet

from bench.analysis import stats
from bench.harness import suite

PACE_S = 0.25
BAR = 1.02


def main() -> None:
    """Print the ratio of each pair, and the geometric mean with its interval."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = (suite.SUITES / "table6.toml").read_text().replace("profile = true", "")
        (folder / "table6.toml").write_text(f"pace_s = {PACE_S}\n{text}")
        with Fleet(folder) as fleet:
            fleet.scheduler()
            fleet.await_text("scheduler", "tls://")
            for number in range(pairs):
                order = (_alone, _on_fleet) if number % 2 else (_on_fleet, _alone)
                seconds = {way: way(fleet, f"{number}") for way in order}
                ratios.append(seconds[_on_fleet] / seconds[_alone])
                print(f"{seconds[_on_fleet]:.1f} s / {seconds[_alone]:.1f} s = {ratios[-1]:.4f}")
    found = stats.exponential(stats.mean_interval([math.log(each) for each in ratios]))
    shown = f"{found.point:.4f} ({found.low:.4f} to {found.high:.4f})" if found else "one pair"
    print(f"fleet / alone: {shown}, median {statistics.median(ratios):.4f}; bar {BAR}")


def _alone(fleet: Fleet, number: str) -> float:
    began = time.monotonic()
    out = f"alone{number}"
    for words in (
        *[["run", "--device", "fake", "--suite", "table6.toml", "--preset", "quick"]],
        ["report", out],
    ):
        more = ["--rounds", "3", "--out", out] if words[0] == "run" else []
        command = [sys.executable, "-m", "bench", *words, *more]
        subprocess.run(command, cwd=fleet.folder, check=True, capture_output=True)
    return time.monotonic() - began


def _on_fleet(fleet: Fleet, number: str) -> float:
    name = f"worker{number}"
    fleet.worker(name)
    fleet.await_text(name, "connected")
    began = time.monotonic()
    words = [*fleet.client_words("--suite", "table6.toml"), "--out", f"fleet{number}"]
    done = fleet.run(*words)
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - began
    fleet.kill(name)
    return seconds


if __name__ == "__main__":
    main()
