"""Kill processes of a fleet at random, and compare its records with those of a run that lives."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from support.fleets import Fleet, by_round, measured

WORKERS = ("first", "second", "third")
SUITE = """
title = "Small networks on the simulated device"
models = ["resnet50", "swin_t", "convnext_t", "mobilenetv3_l"]
batch = [1, 2, 4, 8]
pace_s = 0.04
"""
PAUSES_S = (0.3, 3.0)  # between two kills: from the start of a process to its work


def expected(folder: Path) -> dict:
    """The samples of each round in a run without a fleet: the fake device repeats them exactly."""
    (folder / "suite.toml").write_text(SUITE)
    words = ("run", "--device", "fake", "--suite", "suite.toml", "--preset", "quick")
    alone = (*words, "--rounds", "3", "--out", "alone")
    subprocess.run([sys.executable, "-m", "bench", *alone], cwd=folder, check=True)
    return by_round(measured(folder / "alone"))


def kill_at_random(folder: Path, kills: int, seed: int) -> int:
    """Measure with a fleet of three workers until the client ends, and kill its processes.

    Returns how many were killed. Fails where a record is lost, doubled, or another one.
    """
    wanted, draw, killed = expected(folder), random.Random(seed), 0
    with Fleet(folder) as fleet:
        starts = {"scheduler": fleet.scheduler}
        starts |= {name: lambda name=name: fleet.worker(name) for name in WORKERS}
        starts["client"] = lambda: fleet.client("--suite", "suite.toml")
        for name in ("scheduler", *WORKERS):
            starts[name]()
        fleet.await_text("scheduler", "tls://")
        for name in WORKERS:
            fleet.await_text(name, "connected")
        starts["client"]()
        while killed < kills and fleet.ended("client") is None:
            time.sleep(draw.uniform(*PAUSES_S))
            victim = draw.choice(list(starts))
            if fleet.ended("client") is not None:
                break
            fleet.kill(victim)
            starts[victim]()
            killed += 1
            if victim == "scheduler":
                continue
        code, said = fleet.wait("client", 240)
        assert code == 0, said[-3000:]
        assert by_round(measured(folder / "out")) == wanted
    return killed
