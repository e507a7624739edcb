"""The search of a tuning: waves of candidates, then successive halving.

After each wave, the slower half drops out. Then every candidate in the race has 2, 4, 8 more
rounds, and each time the slower half drops out, until two remain (Jamieson and Talwalkar 2016,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS): two in fp32, and
two in reduced precisions. The search only chooses, from few rounds: the fastest of many candidates
is partly the luckiest. So the fastest are measured again in new processes (`bench.tune.final`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.models import forms
from bench.records import Case, Failure, Measurement
from bench.text import significant
from bench.tune.ranking import latencies
from bench.tune.space import EXACT, WAVES, Space
from bench.tune.tuning import Tuning

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
        before: tuple[Case, ...] = ()
        while len(tuning.alive) > FINALISTS and tuning.alive != before and not self._is_over:
            before = tuning.alive
            tuning = self._rung(tuning)
            self._keep(tuning)
        tuning = self._with_finalists(tuning)
        self._keep(tuning)
        return tuning

    @property
    def _is_over(self) -> bool:
        return self._now() >= self._until_s

    def _wave(self, tuning: Tuning) -> Tuning:
        """Measure the candidates of the next wave; drop the slower half of all.

        A candidate that the wave has measured before it was stopped is not measured again.
        """
        wave, ranked = WAVES[tuning.waves], self._ranked(tuning)
        new: list[Case] = []
        if not tuning.waves or any(case in tuning.space.forms for case in ranked):
            wanted = dict.fromkeys(wave.candidates(tuning.space, ranked))
            new = [case for case in wanted if case not in tuning.known]
        tuning = msgspec.structs.replace(tuning, alive=(*tuning.alive, *new))
        known = {each.case for each in self._look()}
        waiting = [case for case in new if case not in known]
        at_once = wave.at_once or len(waiting)
        while waiting and not (self._is_over and tuning.waves):
            together, waiting = waiting[:at_once], waiting[at_once:]
            self._measure([*ranked[:1], *together])
        tuning = self._without_refused(tuning.drop(dict.fromkeys(waiting, NO_TIME)))
        tuning = self._halved(tuning) if new else tuning
        for _ in range(wave.more_rounds if new else 0):
            if tuning.alive and not self._is_over:
                self._measure(tuning.alive)
                tuning = self._without_refused(tuning)
        return msgspec.structs.replace(tuning, waves=tuning.waves + 1)

    def _rung(self, tuning: Tuning) -> Tuning:
        """Measure further rounds of all in the race; drop the slower half."""
        for _ in range(min(FIRST_ROUNDS * 2**tuning.rungs, MOST_ROUNDS)):
            if len(tuning.alive) > FINALISTS and not self._is_over:
                self._measure(tuning.alive)
                tuning = self._without_refused(tuning)
        return msgspec.structs.replace(self._halved(tuning), rungs=tuning.rungs + 1)

    def _halved(self, tuning: Tuning) -> Tuning:
        """Drop the slower half of those in the race, but no finalist, and none that may be unlucky.

        One process may be of a slow kind, so a candidate near the fastest has SURE rounds first.
        Candidates in fp32 and in reduced precisions race apart.
        """
        seconds = self._latencies()
        rounds = Counter(each.case for each in self._look())
        ranked = [case for case in self._ranked(tuning) if case in tuning.alive]
        kept: set[Case] = set()
        for is_exact in (True, False):
            race = [case for case in ranked if (case.precision == EXACT) == is_exact]
            kept.update(_first(race, max(FINALISTS, math.ceil(len(race) / 2))))
            kept.update(
                case
                for case in race
                if rounds[case] < SURE and seconds[case] < NEAR * seconds[race[0]]
            )
        return self._only(tuning, [case for case in ranked if case in kept])

    def _with_finalists(self, tuning: Tuning) -> Tuning:
        """Take the fastest of those in the race, and the fastest in fp32 that is no plain form."""
        ranked, seconds = self._ranked(tuning), self._latencies()
        alive = [case for case in ranked if case in tuning.alive]
        fastest = _first(alive, FINALISTS)
        if not any(_is_whole_in_fp32(case) for case in fastest):
            exact = filter(_is_whole_in_fp32, alive)
            fastest += [case for case in exact if case not in tuning.space.forms][:1]
        eager = [case for case in ranked if case in tuning.space.forms]
        near = [case for case in eager if seconds[case] <= AS_FAST * seconds[eager[0]]]
        return msgspec.structs.replace(
            self._only(tuning, fastest), finalists=tuple(fastest), baselines=tuple(near[:BASELINES])
        )

    def _only(self, tuning: Tuning, kept: Sequence[Case]) -> Tuning:
        """Drop all but `kept`, whose first one is the fastest."""
        seconds = self._latencies()
        out = [case for case in tuning.alive if case not in kept]
        return tuning.drop({case: self._slower(seconds, case, kept) for case in out})

    @staticmethod
    def _slower(seconds: Mapping[Case, float], case: Case, kept: Sequence[Case]) -> str:
        if case not in seconds:
            return NO_TIME
        ratio = significant(seconds[case] / seconds[kept[0]])
        return f"slower in the search: {ratio} times as long as the fastest"

    def _without_refused(self, tuning: Tuning) -> Tuning:
        """Drop the candidates in the race that failed, and those whose error is too large."""
        why = refused(tuning.space, self._look())
        return tuning.drop({case: why[case] for case in tuning.alive if case in why})

    def _latencies(self) -> dict[Case, float]:
        return latencies([each for each in self._look() if isinstance(each, Measurement)])

    def _ranked(self, tuning: Tuning) -> list[Case]:
        """All measured candidates, the fastest first, without those that are refused."""
        seconds, why = self._latencies(), refused(tuning.space, self._look())
        found = [case for case in seconds if case in tuning.known and case not in why]
        return sorted(found, key=seconds.__getitem__)


def _is_whole_in_fp32(case: Case) -> bool:
    return case.precision == EXACT and not forms.is_mixture(case.form)


def _first(ranked: Sequence[Case], count: int) -> list[Case]:
    """The first ones; where all of them are mixtures of forms, the last of them is a whole form.

    A mixture counts only if it is faster than the network that has one form in all stages.
    """
    taken = list(ranked[:count])
    whole = [case for case in ranked if not forms.is_mixture(case.form)]
    return [*taken[:-1], whole[0]] if whole and not set(whole) & set(taken) else taken


def refused(space: Space, records: Sequence[Measurement | Failure]) -> dict[Case, str]:
    """Map the candidates that must not win to the reason.

    A candidate failed in its last round, or its error against the reference is larger than the
    tolerance.
    """
    found: dict[Case, str] = {}
    for record in records:
        if isinstance(record, Failure):
            found[record.case] = f"failed at {record.stage}: {record.error}: {record.message}"
        elif why := _too_wrong(space, record):
            found[record.case] = why
        else:
            found.pop(record.case, None)
    return found


def _too_wrong(space: Space, record: Measurement) -> str:
    error, tolerance = record.check.largest_relative_error, space.tolerance
    if tolerance is None or error is None or error <= tolerance:
        return ""
    return f"its error against {record.check.against} is {error:.1e}, above {tolerance:g}"
