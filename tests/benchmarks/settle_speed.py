"""How much sooner `bench settle` decides Table 6 than uniform rounds do, on this machine: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/settle_speed.py FOLDER

Three times, in turns: three rounds and `bench settle`, and many rounds of all networks; about a
quarter of an hour each, into its own folder below FOLDER. A folder that is complete is not measured
again. The program prints the seconds until 90 % of the pairs were decided by the rule of settle, or
as many as the uniform rounds decided, if these are fewer. It then prints the ratios of three pairs,
as each sitting settled them. It exits with 1 if settle needs more than 0.6 of the uniform seconds
(the median of three), or if fewer than eight of the nine intervals hold the pair's pooled ratio.
"""

import argparse
import itertools
import math
import statistics
import sys
from pathlib import Path

import msgspec
from support.sittings import Sitting, measured

from bench.analysis import stats
from bench.analysis.recorded import Recorded
from bench.analysis.settle import Question, answer
from bench.analysis.settle.ledger import Ledger
from bench.models.naming import selector
from bench.records import Failure, Measurement

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


def ended_s(record: Measurement | Failure) -> float:
    """When a round ended, by the monotonic clock."""
    last = record.block_sizes[-1] * record.calls_per_sample
    return record.block_starts_s[-1] + sum(record.samples_s[-last:])


def questions_of(recorded: Recorded) -> list[Question]:
    """Which of any two cases is faster."""
    return [Question(*pair) for pair in itertools.combinations(recorded.cases, 2)]


def decisions(sitting: Sitting) -> list[tuple[float, int]]:
    """After each round: the seconds since the begin, and how many pairs were decided by then."""
    questions = questions_of(sitting.recorded)
    records = sorted(sitting.recorded.records, key=ended_s)
    ledger = Ledger(msgspec.structs.replace(sitting.recorded, records=[]), stats.MARGIN)
    found, known = [], set()
    for record in records:
        ledger.add([record])
        known.add(record.case)
        board = ledger.board([each for each in questions if each.cases <= known])
        decided = sum(not each.is_open for each in board.answers)
        found.append((ended_s(record) - sitting.began_s, decided))
    return found


def seconds_until(wanted: int, decided: list[tuple[float, int]]) -> float:
    """The seconds until so many pairs were decided; infinite if they never were."""
    return next((seconds for seconds, count in decided if count >= wanted), math.inf)


def ratio_of(sittings: list[Sitting], pair: tuple[str, str]) -> stats.Estimate | None:
    """The ratio of a pair over all rounds of some sittings, with the interval of settle."""
    sides = []
    for name in pair:
        (case,) = {c for one in sittings for c in one.recorded.cases if selector(c) == name}
        sides.append([r for one in sittings for r in one.recorded.history(case).rounds])
    return answer(Question(sides[0][0].case, sides[1][0].case), *sides).ratio


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
        pairs = len(questions_of(found["uniform"].recorded))
        wanted = min(math.ceil(SHARE * pairs), best)
        needed = [seconds_until(wanted, decided[way]) for way in ways]
        shares.append(needed[0] / needed[1])
        print(f"{wanted} pairs: settle {needed[0]:.0f} s, uniform {needed[1]:.0f} s", flush=True)
    print(f"settle / uniform: {', '.join(f'{each:.2f}' for each in shares)}")
    hold = 0
    for pair in PAIRS:
        pooled = ratio_of(settled, pair)
        intervals = [ratio_of([each], pair) for each in settled]
        if pooled is not None:
            hold += sum(e is not None and e.low <= pooled.point <= e.high for e in intervals)
        print(" / ".join(reversed(pair)), "pooled", *map(shown, (pooled, *intervals)))
    print(f"{hold} of {len(PAIRS) * TIMES} intervals hold the pooled ratio")
    return int(statistics.median(shares) > BAR or hold < MUST_HOLD)


def shown(found: stats.Estimate | None) -> str:
    """A ratio with its interval, as text."""
    return "-" if found is None else f"{found.point:.3f} ({found.low:.3f}-{found.high:.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder))
