"""The final of a tuning: the fastest candidates against the baseline, in processes of their own.

None of its rounds was seen by the search, so the luck of the fastest of many candidates is out of
it. Its questions are those of `bench settle`, whose intervals hold at every look.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from bench.analysis.settle import Answer, Board, Question
from bench.analysis.stats import Estimate, Finding
from bench.records import Case
from bench.tune.tuning import Tuning

OPPOSITE: Mapping[Finding, Finding] = {"FASTER": "SLOWER", "SLOWER": "FASTER"}


class Outcome(NamedTuple):
    """How the best candidate compares with the baseline.

    `finding` and `ratio` are of the candidate's latency over that of the baseline, after `rounds`
    rounds. The baseline is the form in eager mode against which the candidate gains least.
    `candidate` is None where nothing but the baseline could be measured.
    """

    baseline: Case
    candidate: Case | None
    finding: Finding
    ratio: Estimate | None
    rounds: int

    @property
    def winner(self) -> Case:
        """The candidate if it is FASTER, or if nothing is decided and it looks faster."""
        may_win = self.finding in ("FASTER", "UNDECIDED") and self.ratio and self.ratio.point < 1
        return self.candidate if self.candidate and may_win else self.baseline


def cases(tuning: Tuning) -> list[Case]:
    """The cases of the final, each once."""
    return list(dict.fromkeys((*tuning.baselines, *tuning.finalists)))


def questions(tuning: Tuning) -> list[Question]:
    """Each finalist against each baseline, and the finalists against each other."""
    pairs = [*itertools.product(tuning.baselines, tuning.finalists)]
    pairs += itertools.combinations(tuning.finalists, 2)
    found: dict[frozenset[Case], Question] = {}
    for base, candidate in pairs:
        if base != candidate:
            found.setdefault(frozenset((base, candidate)), Question(base, candidate))
    return list(found.values())


def outcome(tuning: Tuning, board: Board) -> Outcome:
    """The answer of the final.

    The candidate is the first finalist that is no baseline; the second one takes its place if it is
    FASTER. If both are baselines, it is the second. Without finalists, nothing was measured, and
    the first form stands for the baseline.
    """
    if not tuning.finalists:
        return Outcome(tuning.space.forms[0], None, "UNDECIDED", None, 0)
    answers = {each.question.cases: each for each in board.answers}
    others = [case for case in tuning.finalists if case not in tuning.baselines]
    candidate = next(iter(others or tuning.finalists[1:]), tuning.finalists[0])
    for other in others[1:]:
        between = answers.get(frozenset((candidate, other)))
        if between and _from(between, other)[0] == "FASTER":
            candidate = other
    against = {case: answers.get(frozenset((case, candidate))) for case in tuning.baselines}
    found = {case: _from(each, candidate) for case, each in against.items() if each}
    if not found:
        return Outcome(tuning.baselines[0], None, "UNDECIDED", None, 0)
    baseline = max(found, key=lambda case: _point(found[case][1]))
    answer = answers[frozenset((baseline, candidate))]
    return Outcome(baseline, candidate, *found[baseline], answer.rounds)


def _from(answer: Answer, candidate: Case) -> tuple[Finding, Estimate | None]:
    """The finding and the ratio of an answer, with `candidate` as the candidate."""
    if answer.question.candidate == candidate:
        return answer.finding, answer.ratio
    ratio = answer.ratio
    turned = Estimate(1 / ratio.point, 1 / ratio.high, 1 / ratio.low) if ratio else None
    return OPPOSITE.get(answer.finding, answer.finding), turned


def _point(ratio: Estimate | None) -> float:
    """The ratio; infinite where it is not known, so that nothing is claimed."""
    return ratio.point if ratio else math.inf
