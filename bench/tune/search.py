"""The search of a tuning: waves of candidates, then successive halving of those that are left.

After each wave, the slower half drops out. Then every candidate in the race has 2, 4, 8 rounds
more and the slower half drops out again, until two are left (Jamieson and Talwalkar 2016,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS). A candidate that
drops out is slower as far as few rounds tell. So nothing that the search finds is an answer: the
fastest of many is partly the luckiest, and it is measured again in new processes
(`bench.tune.final`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from bench.records import Case, Failure, Measurement
from bench.text import significant
from bench.tune.space import WAVES
from bench.tune.standing import latencies
from bench.tune.tuning import Tuning

MOST_AT_ONCE = 3  # new candidates of a round: to export one may take a minute
NEAR, SURE = 1.25, 3  # so near the fastest, a candidate drops out after so many rounds at least
FINALISTS = 2
BASELINES = 2  # at most: forms in eager mode that are measured again
AS_FAST = 1.05  # a form slower than this times the fastest one is no baseline
FIRST_ROUNDS = 2  # of the first rung; the next one has twice as many
MOST_ROUNDS = 8  # of a rung
NO_TIME = "the time for the search was over"

Look = Callable[[], Sequence[Measurement | Failure]]  # the records of the search, in file order
Measure = Callable[[Sequence[Case]], object]  # one more round of these cases, which take turns
Keep = Callable[[Tuning], object]  # called with the tuning after each step


class Search:
    """A search that ends at `until_s` by the clock `now`."""

    def __init__(
        self,
        look: Look,
        measure: Measure,
        keep: Keep,
        until_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._measure = measure
        self._keep = keep
        self._until_s = until_s
        self._now = now

    def run(self, tuning: Tuning) -> Tuning:
        """Return the tuning with its finalists and baselines; none if nothing could be measured."""
        while tuning.waves < len(WAVES):
            tuning = self._wave(tuning)
            self._keep(tuning)
        while len(tuning.alive) > FINALISTS and not self._is_over:
            tuning = self._rung(tuning)
            self._keep(tuning)
        tuning = self._with_finalists(tuning)
        self._keep(tuning)
        return tuning

    @property
    def _is_over(self) -> bool:
        return self._now() >= self._until_s

    def _wave(self, tuning: Tuning) -> Tuning:
        """Measure the candidates of the next wave; drop the slower half of all."""
        ranked = self._ranked(tuning.known)
        new: list[Case] = []
        if not tuning.waves or any(case in tuning.space.forms for case in ranked):
            wanted = dict.fromkeys(WAVES[tuning.waves].candidates(tuning.space, ranked))
            new = [case for case in wanted if case not in tuning.known]
        tuning = msgspec.structs.replace(tuning, alive=(*tuning.alive, *new))
        lost: dict[Case, str] = {}
        for place in range(0, len(new), MOST_AT_ONCE):
            together = new[place : place + MOST_AT_ONCE]
            if self._is_over and tuning.waves:
                lost |= dict.fromkeys(together, NO_TIME)
            else:
                self._measure([*ranked[:1], *together])
        tuning = self._without_failed(tuning.drop(lost))
        for _ in range(WAVES[tuning.waves].more_rounds if new else 0):
            if not self._is_over:
                self._measure(self._halved(tuning).alive)
        return msgspec.structs.replace(self._halved(tuning), waves=tuning.waves + 1)

    def _rung(self, tuning: Tuning) -> Tuning:
        """Measure further rounds of all in the race; drop the slower half."""
        for _ in range(min(FIRST_ROUNDS * 2**tuning.rungs, MOST_ROUNDS)):
            if not self._is_over:
                self._measure(tuning.alive)
        tuning = self._halved(self._without_failed(tuning))
        return msgspec.structs.replace(tuning, rungs=tuning.rungs + 1)

    def _halved(self, tuning: Tuning) -> Tuning:
        """Drop the slower half of those in the race, but no finalist, and none that may be unlucky.

        One process may be of a slow kind, so a candidate near the fastest has SURE rounds first.
        """
        seconds = self._latencies()
        rounds = Counter(each.case for each in self._look())
        ranked = self._ranked(tuning.alive)
        count = max(FINALISTS, math.ceil(len(ranked) / 2))
        unsure = [
            case
            for case in ranked[count:]
            if rounds[case] < SURE and seconds[case] < NEAR * seconds[ranked[0]]
        ]
        return self._only(tuning, [*ranked[:count], *unsure])

    def _with_finalists(self, tuning: Tuning) -> Tuning:
        fastest = self._ranked(tuning.alive)[:FINALISTS]
        seconds = self._latencies()
        forms = [case for case in self._ranked(tuning.known) if case in tuning.space.forms]
        near = [case for case in forms if seconds[case] <= AS_FAST * seconds[forms[0]]]
        tuning = self._only(tuning, fastest)
        return msgspec.structs.replace(
            tuning, finalists=tuple(fastest), baselines=tuple(near[:BASELINES])
        )

    def _only(self, tuning: Tuning, kept: Sequence[Case]) -> Tuning:
        """Drop all but `kept`, whose first one is the fastest."""
        seconds = self._latencies()
        return tuning.drop(
            {
                case: f"slower in the search: {significant(seconds[case] / seconds[kept[0]])} "
                "times as long as the fastest"
                for case in tuning.alive
                if case not in kept
            }
        )

    def _without_failed(self, tuning: Tuning) -> Tuning:
        """Drop the candidates that failed, and those whose error is too large."""
        return tuning.drop(refused(tuning, self._look()))

    def _latencies(self) -> dict[Case, float]:
        return latencies([each for each in self._look() if isinstance(each, Measurement)])

    def _ranked(self, cases: Sequence[Case] | frozenset[Case]) -> list[Case]:
        """Those of the cases that were measured, the fastest first."""
        seconds = self._latencies()
        return sorted((case for case in seconds if case in cases), key=seconds.__getitem__)


def refused(tuning: Tuning, records: Sequence[Measurement | Failure]) -> dict[Case, str]:
    """Map the candidates in the race that must not win to the reason.

    A candidate failed, or its error against the reference is larger than the tolerance.
    """
    found: dict[Case, str] = {}
    for record in records:
        if isinstance(record, Failure):
            found[record.case] = f"failed at {record.stage}: {record.error}: {record.message}"
        elif record.case not in found and (why := _too_wrong(tuning, record)):
            found[record.case] = why
    return {case: why for case, why in found.items() if case in tuning.alive}


def _too_wrong(tuning: Tuning, record: Measurement) -> str:
    error, tolerance = record.check.largest_relative_error, tuning.space.tolerance
    if tolerance is None or error is None or error <= tolerance:
        return ""
    return f"its error against {record.check.against} is {error:.1e}, above {tolerance:g}"
