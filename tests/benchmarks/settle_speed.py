"""How much sooner `bench settle` decides Table 6 than uniform rounds do, on this machine: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/settle_speed.py FOLDER

Three times, in turns: three rounds and `bench settle`, and many rounds of all networks; each into
its own folder below FOLDER. A folder that is complete is not measured again. The program prints the
seconds until 90 % of the pairs were decided by the rule of settle, or as many as the uniform rounds
decided, if these are fewer. It then prints the ratios of three pairs, as each sitting settled them.
It exits with 1 if settle needs more than 0.6 of the uniform seconds (the median of three), or if
fewer than eight of the nine intervals hold the pair's pooled ratio.
"""

import argparse
import itertools
import math
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.analysis import stats
from bench.analysis.ratio import compare
from bench.analysis.recorded import latest
from bench.analysis.settle import Question, answer
from bench.models.naming import selector
from bench.records import Case, Measurement

TIMES = 3
SHARE = 0.9  # of the pairs
BAR = 0.6
LONGEST = "12m"  # of `bench settle`
UNIFORM_ROUNDS = 18
RUN = ("run", "--suite", "table6", "--batch", "1", "--preset", "quick")
PAIRS = (
    ("mobilenetv3_l", "resnet50"),
    ("repnext_u3_t@rrep", "repnext_u3_t@train"),
    ("repnext_u3_t@rrep", "convnext_t"),
)
MUST_HOLD = 8  # of the nine intervals


class Sitting(NamedTuple):
    """What one way of measuring put on record; `began_s` is its begin by the monotonic clock."""

    began_s: float
    rounds: dict[Case, list[Measurement]]


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
    rounds = {case: list(recorded.history(case).rounds) for case in recorded.cases}
    return Sitting(float(mark.read_text()), rounds)


def ended_s(record: Measurement) -> float:
    """When the last block of a round began, by the monotonic clock."""
    return record.block_starts_s[-1]


def decisions(sitting: Sitting) -> list[tuple[float, int]]:
    """After each round: the seconds since the begin, and how many pairs were decided by then."""
    pairs = list(itertools.combinations(sitting.rounds, 2))
    found = []
    for moment in sorted(ended_s(each) for own in sitting.rounds.values() for each in own):
        known = {
            case: [each for each in rounds if ended_s(each) <= moment]
            for case, rounds in sitting.rounds.items()
        }
        answers = [
            answer(Question(base, other), known[base], known[other])
            for base, other in pairs
            if known[base] and known[other]
        ]
        found.append((moment - sitting.began_s, sum(not each.is_open for each in answers)))
    return found


def seconds_until(wanted: int, decided: list[tuple[float, int]]) -> float:
    """The seconds until so many pairs were decided; infinite if they never were."""
    return next((seconds for seconds, count in decided if count >= wanted), math.inf)


def case_of(sitting: Sitting, name: str) -> Case:
    """The case that a selector names."""
    return next(case for case in sitting.rounds if selector(case) == name)


def ratio_of(sittings: list[Sitting], pair: tuple[str, str]) -> stats.Estimate | None:
    """The ratio of a pair over all rounds of some sittings, with its interval."""
    base, candidate = (
        [each for one in sittings for each in one.rounds[case_of(one, name)]] for name in pair
    )
    return compare(base, candidate).ratio


def main(folder: Path) -> int:
    """Measure, print, and return the exit code."""
    settled, shares = [], []
    for number in range(1, TIMES + 1):
        ways = {
            "settle": ((*RUN, "--rounds", "3"), ("settle", "--for", LONGEST)),
            "uniform": ((*RUN, "--rounds", str(UNIFORM_ROUNDS)),),
        }
        order = list(ways) if number % 2 else list(reversed(ways))
        found = {way: measured(folder / f"{way}-{number}", *ways[way]) for way in order}
        settled.append(found["settle"])
        decided = {way: decisions(found[way]) for way in ways}
        best = max(count for _, count in decided["uniform"])
        wanted = min(math.ceil(SHARE * math.comb(len(found["uniform"].rounds), 2)), best)
        needed = [seconds_until(wanted, decided[way]) for way in ways]
        shares.append(needed[0] / needed[1])
        print(f"{wanted} pairs: settle {needed[0]:.0f} s, uniform {needed[1]:.0f} s", flush=True)
    print(f"settle / uniform: {', '.join(f'{each:.2f}' for each in shares)}")
    hold = 0
    for pair in PAIRS:
        pooled = ratio_of(settled, pair)
        intervals = [ratio_of([each], pair) for each in settled]
        inside = [each is not None and each.low <= pooled.point <= each.high for each in intervals]
        hold += sum(inside)
        print(" / ".join(reversed(pair)), f"pooled {pooled.point:.3f}", *map(shown, intervals))
    print(f"{hold} of {len(PAIRS) * TIMES} intervals hold the pooled ratio")
    return int(statistics.median(shares) > BAR or hold < MUST_HOLD)


def shown(found: stats.Estimate | None) -> str:
    """A ratio with its interval, as text."""
    return "-" if found is None else f"{found.point:.3f} ({found.low:.3f}-{found.high:.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder))
