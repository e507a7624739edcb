"""Kill processes of a fleet at random, and compare its records with those of a run that lives."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from bench.errors import NOT_AVAILABLE
from bench.storage import reader
from support.fleets import Fleet, by_round, measured

WORKERS = ("first", "second", "third")
SUITE = """
title = "Small networks on the simulated device"
models = ["resnet50", "swin_t", "convnext_t", "mobilenetv3_l", "fault/nan"]
batch = [1, 2, 4, 8]
pace_s = 0.04
"""
PAUSES_S = (0.3, 3.0)  # between two kills: from the start of a process to its work


def expected(folder: Path) -> dict:
    """The samples of each round in a run without a fleet: the fake device repeats them exactly."""
    (folder / "suite.toml").write_text(SUITE)
    words = ("run", "--device", "fake", "--suite", "suite.toml", "--preset", "quick")
    alone = [sys.executable, "-m", "bench", *words, "--rounds", "3", "--out", "alone"]
    done = subprocess.run(alone, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # a network fails
    return by_round(measured(folder / "alone"))


def kill_at_random(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Measure with a fleet of three workers until the client ends, and kill its processes.

    Returns how often each was killed. Fails where a record is lost, doubled, or another one.
    """
    wanted, draw = expected(folder), random.Random(seed)
    killed = dict.fromkeys(("scheduler", *WORKERS, "client"), 0)
    with Fleet(folder) as fleet:
        starts = {"scheduler": fleet.scheduler}
        starts |= {name: lambda name=name: fleet.worker(name) for name in WORKERS}
        starts["client"] = lambda: fleet.client("--suite", "suite.toml")
        fleet.scheduler()
        fleet.workers(*WORKERS)
        starts["client"]()
        while sum(killed.values()) < kills:
            time.sleep(draw.uniform(*PAUSES_S))
            if fleet.ended("client") is not None:
                break
            victim = draw.choice([*starts, fleet.busiest(*WORKERS)])
            fleet.kill(victim)
            starts[victim]()
            killed[victim] += 1
            if fleet.ended("client") == NOT_AVAILABLE:  # it had just begun, without a scheduler
                starts["client"]()
        code, said = fleet.wait("client", 240)
        assert code == 1, said[-3000:]
        assert "Traceback" not in said
        assert by_round(measured(folder / "out")) == wanted
        assert failed(folder / "out") == failed(folder / "alone")
    return killed


def failed(folder: Path) -> list[tuple]:
    """The failures in a store, sorted."""
    records, _ = reader.read(folder / "fake" / reader.FILE_NAME)
    failures = [each for each in records if type(each).__name__ == "Failure"]
    return sorted((each.case_id, each.generation, each.round, each.stage) for each in failures)
