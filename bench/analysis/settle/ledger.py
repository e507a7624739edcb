"""The records of a device, and what they answer: kept up to date while rounds are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bench.analysis.recorded import Recorded
from bench.analysis.settle.choice import Board
from bench.analysis.settle.question import Answer, Obstacle, Question, answer
from bench.analysis.settle.seconds import round_seconds, start_seconds
from bench.analysis.stillness import usual_of
from bench.analysis.verdict import Machine, judge
from bench.models.naming import selector
from bench.records import Case, Failure, Measurement

INVALID = (
    "the verdict on {} is INVALID: measure it again on a quiet machine, with bench run --again"
)


class Ledger:
    """Answers questions from `recorded`, whose records it extends.

    `margin` is the smallest difference that matters. `unmeasurable` maps the name of a model to the
    reason why no further round of it can be measured here.
    """

    def __init__(
        self, recorded: Recorded, margin: float, unmeasurable: Mapping[str, str] | None = None
    ) -> None:
        self._recorded = recorded
        self._margin = margin
        self._unmeasurable = unmeasurable or {}
        self._rounds: dict[Case, list[Measurement]] = {}  # of the cases asked for
        self._obstacles: dict[Case, Obstacle | None] = {}
        self._answers: dict[Question, Answer] = {}

    @property
    def recorded(self) -> Recorded:
        """All records so far."""
        return self._recorded

    def add(self, records: Iterable[Measurement | Failure]) -> None:
        """Add records that were measured since; forget what they may change."""
        new = list(records)
        every = [*self._recorded.records, *new]
        self._recorded = msgspec.structs.replace(self._recorded, records=every)
        for record in new:
            self._rounds.pop(record.case, None)
            for question in [each for each in self._answers if record.case in each.cases]:
                del self._answers[question]

    def board(self, questions: Sequence[Question]) -> Board:
        """The answers to all questions, and how long a round of each of their cases takes."""
        for question in questions:
            if question not in self._answers:
                self._answers[question] = self._answer(question)
        measured = [each for each in self._recorded.records if isinstance(each, Measurement)]
        cases = dict.fromkeys(case for each in questions for case in (each.base, each.candidate))
        seconds = {case: round_seconds(self._rounds[case]) for case in cases if self._rounds[case]}
        start_s = start_seconds(measured) if measured else 0.0
        return Board([self._answers[each] for each in questions], seconds, start_s)

    def _answer(self, question: Question) -> Answer:
        base, candidate = self._of(question.base), self._of(question.candidate)
        met = [self._obstacles[case] for case in (question.base, question.candidate)]
        if any(met):
            obstacle = self._with_missing(question, _both(met))
            return answer(question, base, candidate, self._margin, obstacle)
        found = answer(question, base, candidate, self._margin)
        if not found.is_open:
            return found
        missing = self._with_missing(question, Obstacle())
        return answer(question, base, candidate, self._margin, missing if missing.why else None)

    def _with_missing(self, question: Question, obstacle: Obstacle) -> Obstacle:
        """The obstacle, and the reason where a model cannot be measured any more."""
        models = dict.fromkeys((question.base.model, question.candidate.model))
        reasons = [obstacle.why, *(self._unmeasurable.get(model, "") for model in models)]
        return obstacle._replace(why="; ".join(filter(None, reasons)))

    def _of(self, case: Case) -> list[Measurement]:
        """The rounds of a case that may be pooled; notes its obstacle, if there is one."""
        if case not in self._rounds:
            rounds, failure = self._recorded.history(case)
            self._rounds[case], self._obstacles[case] = rounds, None
            if failure:
                why = f"{selector(case)} failed at {failure.stage}"
                self._obstacles[case] = Obstacle(why=why)
            elif self._recorded.verdict(case).level == "INVALID":
                held = self._good_rounds_needed(case, rounds)
                doubt = f"the verdict on {selector(case)} is INVALID"
                self._obstacles[case] = Obstacle(held=held, doubt=doubt)
        return self._rounds[case]

    def _good_rounds_needed(self, case: Case, rounds: Sequence[Measurement]) -> int:
        """How many further good rounds make the INVALID ones fewer than half: 2 i - n + 1."""
        machine = Machine(self._recorded.quiet(case), self._recorded.usable_cpus)
        usual = usual_of(rounds)
        invalid = sum(judge(record, machine, usual).level == "INVALID" for record in rounds)
        return max(1, 2 * invalid - len(rounds) + 1)


def _both(obstacles: Iterable[Obstacle | None]) -> Obstacle:
    """The obstacles of two cases as one."""
    met = [each for each in obstacles if each]
    return Obstacle(
        why="; ".join(filter(None, (each.why for each in met))),
        held=max(each.held for each in met),
        doubt=", and ".join(filter(None, (each.doubt for each in met))),
    )
