"""How much sooner `bench settle` decides than uniform rounds do, from real rounds; no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/settle_replay.py FOLDER... [--times N]

Each FOLDER has uniform rounds of one group of cases (`bench run --rounds 18`), measured here. A
replay draws rounds of theirs, with replacement; a round of fewer cases has their records of the
round drawn. Seconds are those on record: the median of a round of a case, and of its start. So one
quarter of an hour of measuring tells what hundreds of hours would, for these cases and this
machine. `settle_speed.py` measures the same in turns, three times.

The program prints the median seconds until so many pairs are decided, both ways.
"""

import argparse
import itertools
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.analysis.pairs import sitting_of
from bench.analysis.recorded import latest
from bench.analysis.settle import Answer, Board, Question, answer, round_seconds, start_seconds
from bench.harness.settling import settle
from bench.records import Case, Measurement

FIRST_ROUNDS = 3  # of `bench run --preset quick`, before the questions are asked
LONGEST_S = 900.0

Sitting = dict[Case, Measurement]


class Replay:
    """A group of cases, a clock, and the rounds drawn so far."""

    def __init__(self, sittings: Sequence[Sitting], seed: int) -> None:
        self._sittings = sittings
        self._draw = random.Random(seed)
        self._drawn = 0
        self._known: dict[tuple[object, ...], Answer] = {}  # by question and numbers of rounds
        records = [record for sitting in sittings for record in sitting.values()]
        self.cases = list(sittings[0])
        self._case_s = {
            case: round_seconds([sitting[case] for sitting in sittings]) for case in self.cases
        }
        self._start_s = start_seconds(records)
        self._questions = [Question(*pair) for pair in itertools.combinations(self.cases, 2)]
        self._rounds: dict[Case, list[Measurement]] = {case: [] for case in self.cases}
        self.now_s = 0.0
        self.reached: dict[int, float] = {}  # decided pairs: when there were so many at first

    def measure(self, cases: Sequence[Case]) -> list[Case]:
        """Draw a round of these cases; nothing spoils it."""
        self._drawn += 1
        sitting = self._draw.choice(self._sittings)
        self.now_s += self._start_s + sum(self._case_s[case] for case in cases)
        for case in cases:
            own = self._rounds[case]
            place = {"run_id": "replay", "sitting": self._drawn, "round": len(own) + 1}
            own.append(msgspec.structs.replace(sitting[case], **place))
        return []

    def look(self) -> Board:
        """What the rounds answer; notes when as many pairs were decided for the first time."""
        board = Board([self._answer(each) for each in self._questions], self._case_s, self._start_s)
        decided = sum(not each.is_open for each in board.answers)
        for count in range(decided + 1):
            self.reached.setdefault(count, self.now_s)
        return board

    def _answer(self, question: Question) -> Answer:
        both = self._rounds[question.base], self._rounds[question.candidate]
        key = (question, *map(len, both))
        if key not in self._known:
            self._known[key] = answer(question, *both)
        return self._known[key]


def settled(replay: Replay) -> None:
    """Draw the first rounds, then settle."""
    for _ in range(FIRST_ROUNDS):
        replay.measure(replay.cases)
    left_s = LONGEST_S - replay.now_s
    settle(replay.look, replay.measure, left_s, now=lambda: replay.now_s)


def uniform(replay: Replay) -> None:
    """Draw rounds of all cases, and look after each."""
    while replay.now_s < LONGEST_S:
        replay.measure(replay.cases)
        replay.look()


def sittings_of(folders: Sequence[Path]) -> list[Sitting]:
    """The rounds in which all cases of the folders took turns."""
    found: dict[tuple[str, int], Sitting] = defaultdict(dict)
    for folder in folders:
        for recorded in latest(folder):
            for record in recorded.records:
                if isinstance(record, Measurement) and not record.spoilt_by:
                    found[sitting_of(record)][record.case] = record
    most = max(map(len, found.values()))
    return [each for each in found.values() if len(each) == most]


def times(way: Callable[[Replay], None], sittings: Sequence[Sitting], count: int) -> list[Replay]:
    """Replay a way of measuring as often as `count` says."""
    replays = [Replay(sittings, seed) for seed in range(count)]
    for replay in replays:
        way(replay)
    return replays


def main(folders: Sequence[Path], count: int) -> None:
    """Replay, and print."""
    sittings = sittings_of(folders)
    cases = len(sittings[0])
    print(f"{len(sittings)} rounds of {cases} cases, {cases * (cases - 1) // 2} pairs")
    ways = [times(way, sittings, count) for way in (settled, uniform)]
    for decided in range(1, 1 + max(max(each.reached) for way in ways for each in way)):
        medians = [
            statistics.median(each.reached.get(decided, math.inf) for each in way) for way in ways
        ]
        if all(map(math.isfinite, medians)):
            settle_s, uniform_s = medians
            seconds = f"settle {settle_s:.0f} s, uniform {uniform_s:.0f} s"
            print(f"{decided} pairs: {seconds}, {settle_s / uniform_s:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--times", type=int, default=40)
    given = parser.parse_args()
    main(given.folders, given.times)
