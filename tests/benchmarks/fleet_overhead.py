"""How much longer does a table take on a fleet of one worker than in `bench run`?

Run: PYTHONPATH=tests python tests/benchmarks/fleet_overhead.py [PAIRS [PACE_S]]

Table 6 on the simulated device, whose blocks take PACE_S each, by both ways in turns, each from the
command to its end. The bar: at most 2 % longer.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support.fleets import Fleet

from bench.analysis import stats
from bench.harness import suite

PACE_S = 0.5
BAR = 1.02
PLAN = ("--suite", "table6.toml", "--preset", "quick", "--rounds", "3")


def main() -> None:
    """Print the ratio of each pair, and the geometric mean with its interval."""
    pairs, pace_s = (*map(float, sys.argv[1:]), *(4, PACE_S)[len(sys.argv) - 1 :])
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = (suite.SUITES / "table6.toml").read_text().replace("profile = true", "")
        (folder / "table6.toml").write_text(f"pace_s = {pace_s}\n{text}")
        with Fleet(folder) as fleet:
            fleet.scheduler()
            for number in range(int(pairs)):
                order = (_alone, _on_fleet) if number % 2 else (_on_fleet, _alone)
                seconds = {way: way(fleet, f"{way.__name__}{number}") for way in order}
                ratios.append(seconds[_on_fleet] / seconds[_alone])
                shown = f"{seconds[_on_fleet]:.1f} s / {seconds[_alone]:.1f} s"
                print(f"{shown} = {ratios[-1]:.4f}", flush=True)
    found = stats.exponential(stats.mean_interval([math.log(each) for each in ratios]))
    shown = f"{found.point:.4f} ({found.low:.4f} to {found.high:.4f})" if found else "one pair"
    print(f"fleet / alone: {shown}, median {statistics.median(ratios):.4f}; bar {BAR}")


def _alone(fleet: Fleet, out: str) -> float:
    return _seconds(fleet, ("run", "--device", "fake", *PLAN, "--out", out))


def _on_fleet(fleet: Fleet, out: str) -> float:
    """Return the seconds of a table; the worker is new, and has no record of an earlier one."""
    fleet.workers(out)
    time.sleep(2)  # its process for measuring has started, too
    seconds = _seconds(fleet, ("fleet", *fleet.client_words(*PLAN, "--out", out)))
    fleet.kill(out)
    return seconds


def _seconds(fleet: Fleet, words: Sequence[str]) -> float:
    began = time.monotonic()
    command = [sys.executable, "-m", "bench", *words]
    subprocess.run(command, cwd=fleet.folder, check=True, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
