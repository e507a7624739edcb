"""The final of a tuning: the fastest candidates against the baseline, in processes of their own.

The search has seen none of its rounds, so the luck of the fastest of many candidates is out of it.
Its questions are those of `bench settle`, whose intervals hold at every look.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from bench.analysis.settle import Answer, Board, Question
from bench.analysis.stats import Estimate, Finding
from bench.models import forms
from bench.records import Case
from bench.tune.space import EXACT
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
    """Each finalist against each baseline, and the two fastest finalists against each other."""
    pairs = [*itertools.product(tuning.baselines, tuning.finalists)]
    pairs += itertools.combinations(tuning.finalists[:2], 2)
    found: dict[frozenset[Case], Question] = {}
    for base, candidate in pairs:
        if base != candidate:
            found.setdefault(frozenset((base, candidate)), Question(base, candidate))
    return list(found.values())


def outcome(tuning: Tuning, board: Board, failed: Collection[Case] = ()) -> Outcome:
    """The answer of the final; the cases in `failed` are left out.

    A candidate that is FASTER comes first, and of two such the second finalist only if it is FASTER
    than the first. A mixture of forms counts only if it is FASTER than the network in one form.
    Without a candidate that is FASTER, one that may still be comes first. Where all finalists are
    forms in eager mode, the slower one is the candidate.
    """
    answers, eager = _answers(board, failed), _eager(tuning)
    others = [case for case in tuning.finalists if case not in tuning.space.forms]
    if not others:
        return _of_forms(tuning, answers) or _unknown(tuning, board)
    whole = [case for case in tuning.finalists[:2] if not _is_mixture(case) and case not in failed]
    found = {
        case: each
        for case in sorted(others, key=_is_mixture)
        if (each := _against(answers, eager, case))
        and (not _is_mixture(case) or all(_is_faster(answers, case, each) for each in whole))
    }
    proven = [case for case, each in found.items() if each.finding == "FASTER"]
    if proven:
        better = [case for case in proven[1:] if _is_faster(answers, case, proven[0])]
        return found[(better or proven)[0]]
    return min(found.values(), key=_hope, default=None) or _unknown(tuning, board)


def exact(
    tuning: Tuning, board: Board, found: Outcome, failed: Collection[Case] = ()
) -> Outcome | None:
    """The outcome for the fastest finalist in fp32; None if `found` is about it, or without one."""
    exact_ones = [case for case in tuning.finalists if case.precision == EXACT]
    candidate = min(exact_ones, key=_is_mixture, default=None)
    about = found.candidate and found.candidate.precision
    if candidate is None or candidate in tuning.space.forms or about == EXACT:
        return None
    return _against(_answers(board, failed), _eager(tuning), candidate)


def _answers(board: Board, failed: Collection[Case]) -> dict[frozenset[Case], Answer]:
    """The answers by their cases, without those about a case that failed."""
    return {
        each.question.cases: each
        for each in board.answers
        if each.question.cases.isdisjoint(failed)
    }


def _is_mixture(case: Case) -> bool:
    return forms.is_mixture(case.form)


def _eager(tuning: Tuning) -> list[Case]:
    """The forms in eager mode that are in the final."""
    return [case for case in cases(tuning) if case in tuning.space.forms]


def _hope(found: Outcome) -> tuple[bool, float]:
    """A key that is smaller for what may still be faster, then for what is faster so far."""
    point = found.ratio.point if found.ratio else 1.0
    return not (found.finding == "UNDECIDED" and point < 1), point


def _of_forms(tuning: Tuning, answers: Mapping[frozenset[Case], Answer]) -> Outcome | None:
    """The outcome where the finalists are forms in eager mode: the faster one is the baseline."""
    if len(tuning.finalists) < 2:
        return None
    first, second = tuning.finalists
    if _is_faster(answers, second, first):
        first, second = second, first
    return _against(answers, [first], second)


def _unknown(tuning: Tuning, board: Board) -> Outcome:
    """No answer; without any measured form, the first one stands for the baseline."""
    baseline = (*tuning.baselines, *tuning.space.forms)[0]
    why = "; ".join(dict.fromkeys(each.why for each in board.answers if each.why))
    return Outcome(baseline, None, "UNDECIDED", None, 0, why)


def _against(
    answers: Mapping[frozenset[Case], Answer], eager: Sequence[Case], candidate: Case
) -> Outcome | None:
    """How a candidate compares with all forms; None if it was compared with none.

    It is FASTER only if it is FASTER than each form that has an answer or could have one.
    """
    found: list[Outcome] = []
    for form in eager:
        if given := answers.get(frozenset((form, candidate))):
            finding, ratio = seen_from(given, candidate)
            found.append(Outcome(form, candidate, finding, ratio, given.rounds, given.why))
    compared = [each for each in found if each.ratio]
    if not compared:
        return None
    least = max(compared, key=lambda each: each.ratio.point if each.ratio else 0.0)
    not_faster = [each for each in found if each.finding != "FASTER"]
    if least in not_faster or not not_faster:
        return least
    other = not_faster[0]
    return other if other.ratio else least._replace(finding="UNDECIDED", why=other.why)


def _is_faster(answers: Mapping[frozenset[Case], Answer], candidate: Case, other: Case) -> bool:
    given = answers.get(frozenset((candidate, other)))
    return given is not None and seen_from(given, candidate)[0] == "FASTER"


def seen_from(answer: Answer, candidate: Case) -> tuple[Finding, Estimate | None]:
    """Return the finding and the ratio of an answer, with `candidate` as the candidate."""
    if answer.question.candidate == candidate:
        return answer.finding, answer.ratio
    ratio = answer.ratio
    turned = Estimate(1 / ratio.point, 1 / ratio.high, 1 / ratio.low) if ratio else None
    return OPPOSITE.get(answer.finding, answer.finding), turned
