"""The final of a tuning: the fastest candidates against the baseline, in processes of their own.

The search has seen none of its rounds, so the luck of the fastest of many candidates is out of it.
Its questions are those of `bench settle`, whose intervals hold at every look.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.analysis.settle import Answer, Board, Question
from bench.analysis.stats import Estimate, Finding
from bench.records import Case
from bench.tune.tuning import Tuning

OPPOSITE: Mapping[Finding, Finding] = {"FASTER": "SLOWER", "SLOWER": "FASTER"}


class Outcome(NamedTuple):
    """How the best candidate compares with the baseline, a form in eager mode.

    `finding` and `ratio` are of the candidate's latency over that of the baseline, after `rounds`
    rounds. Where several forms are baselines, the candidate is FASTER only if it is faster than
    each; `ratio` is to the one against which it gains least. `candidate` and `ratio` are None where
    the final has no answer. `why` is the reason why more rounds do not decide; "" where they may.
    """

    baseline: Case
    candidate: Case | None
    finding: Finding
    ratio: Estimate | None
    rounds: int
    why: str = ""

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

    A candidate that is FASTER comes first, and of two such the second finalist only if it is FASTER
    than the first. Where all finalists are forms in eager mode, the slower one is the candidate: no
    other way to run the network is left.
    """
    answers = {each.question.cases: each for each in board.answers}
    forms = [case for case in cases(tuning) if case in tuning.space.forms]
    others = [case for case in tuning.finalists if case not in tuning.space.forms]
    if not others:
        return _of_forms(tuning, answers)
    found = {case: each for case in others if (each := _against(answers, forms, case))}
    proven = [case for case, each in found.items() if each.finding == "FASTER"]
    if len(proven) > 1 and _is_faster(answers, proven[1], proven[0]):
        return found[proven[1]]
    return found[proven[0]] if proven else next(iter(found.values()), _unknown(tuning))


def _of_forms(tuning: Tuning, answers: Mapping[frozenset[Case], Answer]) -> Outcome:
    """The outcome where the finalists are forms in eager mode: the faster one is the baseline."""
    if len(tuning.finalists) < 2:
        return _unknown(tuning)
    first, second = tuning.finalists
    if _is_faster(answers, second, first):
        first, second = second, first
    return _against(answers, [first], second) or _unknown(tuning)


def _unknown(tuning: Tuning) -> Outcome:
    """No answer; without any measured form, the first one stands for the baseline."""
    baseline = (*tuning.baselines, *tuning.space.forms)[0]
    return Outcome(baseline, None, "UNDECIDED", None, 0)


def _against(
    answers: Mapping[frozenset[Case], Answer], forms: Sequence[Case], candidate: Case
) -> Outcome | None:
    """How a candidate compares with those of the forms that an answer has a ratio for."""
    found: list[Outcome] = []
    for form in forms:
        given = answers.get(frozenset((form, candidate)))
        if given and given.ratio:
            finding, ratio = _from(given, candidate)
            why = given.why or given.doubt if finding == "UNDECIDED" else ""
            found.append(Outcome(form, candidate, finding, ratio, given.rounds, why))
    if not found:
        return None
    least = max(found, key=lambda each: each.ratio.point if each.ratio else 0.0)
    not_faster = [each for each in found if each.finding != "FASTER"]
    return least if least in not_faster else next(iter(not_faster), least)


def _is_faster(answers: Mapping[frozenset[Case], Answer], candidate: Case, other: Case) -> bool:
    given = answers.get(frozenset((candidate, other)))
    return given is not None and _from(given, candidate)[0] == "FASTER"


def _from(answer: Answer, candidate: Case) -> tuple[Finding, Estimate | None]:
    """The finding and the ratio of an answer, with `candidate` as the candidate."""
    if answer.question.candidate == candidate:
        return answer.finding, answer.ratio
    ratio = answer.ratio
    turned = Estimate(1 / ratio.point, 1 / ratio.high, 1 / ratio.low) if ratio else None
    return OPPOSITE.get(answer.finding, answer.finding), turned
