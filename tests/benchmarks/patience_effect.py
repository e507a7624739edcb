"""What `--patience` does on this machine to verdicts and to a ratio; no test, no bar.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/patience_effect.py FOLDER [--neighbour]

Eight times each, in turns: three rounds of ConvNeXt-T and ResNet50 with and without patience, each
into its own folder below FOLDER (about 20 minutes). A folder that is complete is not measured
again. With `--neighbour`, another process uses a CPU from time to time, by a seed. The program
prints the share of VALID rounds, and the spread of the ratio between the runs.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.sittings import Sitting, measured

from bench.analysis.disturbance import undisturbed
from bench.analysis.ratio import compare
from bench.analysis.verdict import Machine, Quiet, judge, judge_case, quiet_of
from bench.records import Measurement

RUNS = 8
RUN = ("run", "--models", "convnext_t,resnet50", "--batch", "1", "--preset", "quick")
WAYS: dict[str, tuple[str, ...]] = {"without patience": (), "with patience": ("--patience", "0.5")}
BASE, CANDIDATE = "resnet50", "convnext_t"
NEIGHBOUR = """
import random, sys, time
length = random.Random(int(sys.argv[1]))
while True:
    time.sleep(length.uniform(5, 30))
    end = time.monotonic() + length.uniform(5, 30)
    while time.monotonic() < end:
        pass
"""


@contextlib.contextmanager
def neighbour(number: int, *, comes: bool) -> Iterator[None]:
    """Let another process compute from time to time, the same times for the same number."""
    if not comes:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(number)]) as process:
        try:
            yield
        finally:
            process.kill()


def rounds_of(sitting: Sitting, model: str) -> list[Measurement]:
    """All rounds of a network, with those that were repeated."""
    everything = sitting.recorded.records
    return [r for r in everything if isinstance(r, Measurement) and r.case.model == model]


def report(way: str, sittings: list[Sitting], quiet: Quiet | None) -> None:
    """Print what one way of measuring gave; `quiet` is the quiet state over all sittings."""
    cases, rounds, waited_s, ratios = [], [], 0.0, []
    for sitting in sittings:
        machine = Machine(quiet, sitting.recorded.usable_cpus)
        sides = [rounds_of(sitting, BASE), rounds_of(sitting, CANDIDATE)]
        cases += [judge_case(side, machine).level for side in sides]
        rounds += [judge(each, machine).level for side in sides for each in undisturbed(side)]
        waited_s += sum(each.rested_s for side in sides for each in side)
        ratio = compare(*map(undisturbed, sides)).ratio
        assert ratio is not None
        ratios.append(ratio.point)
    print(
        f"{way}: {rounds.count('VALID')} of {len(rounds)} rounds and {cases.count('VALID')} of "
        f"{len(cases)} cases VALID; waited {waited_s:.0f} s; {CANDIDATE} / {BASE}: "
        f"{', '.join(f'{each:.3f}' for each in ratios)}; standard deviation "
        f"{statistics.stdev(ratios):.3f}, largest / smallest {max(ratios) / min(ratios):.3f}"
    )


def main(folder: Path, *, comes: bool) -> None:
    """Measure, and print."""
    sittings: dict[str, list[Sitting]] = {way: [] for way in WAYS}
    for number in range(1, RUNS + 1):
        for way in WAYS if number % 2 else reversed(WAYS):
            with neighbour(number, comes=comes):
                found = measured(
                    folder / f"{way.partition(' ')[0]}-{number}",
                    (*RUN, "--rounds", "3", *WAYS[way]),
                )
            sittings[way].append(found)
    everything = [sitting for found in sittings.values() for sitting in found]
    quiet = quiet_of(
        [r for each in everything for r in (*rounds_of(each, BASE), *rounds_of(each, CANDIDATE))]
    )
    for way, found in sittings.items():
        report(way, found, quiet)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--neighbour", action="store_true")
    given = parser.parse_args()
    main(given.folder, comes=given.neighbour)
