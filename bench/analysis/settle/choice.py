"""The choice of the next round: the cases whose round is expected to answer most per second.

Questions race: an answered one drops out, and its cases are measured no further (Maron and Moore
1994, "Hoeffding races", NIPS 6). Among the open ones, `belief.rate` is the index of a question, in
answers a round. The next round takes the cases with the highest sum of rates a second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from bench.analysis.settle import belief
from bench.analysis.settle.question import Answer, Question
from bench.records import Case
from bench.records.fields import SHORTEST_S


class Board(NamedTuple):
    """All answers, and seconds: of a round of each case, and of the start of any round."""

    answers: Sequence[Answer]
    case_s: Mapping[Case, float]
    start_s: float

    @property
    def open(self) -> list[Answer]:
        """The questions that more rounds may answer."""
        return [each for each in self.answers if each.is_measurable]

    def round_s(self, cases: Collection[Case]) -> float:
        """Seconds of a round of these cases; at least SHORTEST_S, since a record may have 0."""
        return max(SHORTEST_S, self.start_s + sum(self.case_s[case] for case in cases))


class Round(NamedTuple):
    """A round to measure: the cases, in the order of the questions, and its likely seconds."""

    cases: list[Case]
    questions: list[Question]
    seconds: float


def choose(board: Board, left_s: float, skipped: Collection[Question] = ()) -> Round | None:
    """The next round, which takes at most `left_s`; None if no open question has a round so short.

    Both cases of a question take part or neither, so all ratios come from one sitting. The round
    begins with the best question, and grows by questions of the same group while that adds answers
    per second.
    """
    asked = [each for each in board.open if each.question not in skipped]
    rates = {each.question: each.rate for each in asked}
    chosen: frozenset[Case] = frozenset()
    best = -1.0
    while True:
        grown = [
            (_answers_per_s(board, rates, cases), cases)
            for cases in dict.fromkeys(chosen | question.cases for question in rates)
            if len({case.group for case in cases}) == 1 and board.round_s(cases) <= left_s
        ]
        value, cases = max(grown, key=lambda each: each[0], default=(best, chosen))
        if value <= best:
            break
        best, chosen = value, cases
    return _round(board, chosen, rates) if chosen else None


def _answers_per_s(board: Board, rates: Mapping[Question, float], cases: frozenset[Case]) -> float:
    covered = sum(rate for question, rate in rates.items() if question.cases <= cases)
    return covered / board.round_s(cases)


def _round(board: Board, cases: frozenset[Case], rates: Mapping[Question, float]) -> Round:
    questions = [question for question in rates if question.cases <= cases]
    ordered = dict.fromkeys(
        case for each in questions for case in (each.base, each.candidate) if case in cases
    )
    return Round(list(ordered), questions, board.round_s(cases))


def remaining_s(board: Board, answers: Sequence[Answer]) -> float:
    """Seconds until each of these questions is answered with a probability of 80 %.

    A case has as many rounds as the question that needs most of them, MOST_ROUNDS where unknown; a
    group has as many starts as its case with the most rounds.
    """
    rounds: dict[Case, int] = {}
    for each in answers:
        needed = each.more_rounds or belief.MOST_ROUNDS
        for case in each.question.cases:
            rounds[case] = max(rounds.get(case, 0), needed)
    starts: dict[tuple[object, ...], int] = {}
    for case, count in rounds.items():
        starts[case.group] = max(starts.get(case.group, 0), count)
    measured_s = sum(count * board.case_s[case] for case, count in rounds.items())
    return measured_s + board.start_s * sum(starts.values())
