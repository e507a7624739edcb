"""A question, which of two cases is faster, and the answer that the records give."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bench.analysis import stats
from bench.analysis.pairs import pair_rounds
from bench.analysis.ratio import OF_KINDS, Comparison, compare
from bench.analysis.settle import sequence
from bench.analysis.settle.belief import Belief, rate, rounds_needed
from bench.analysis.stats import Estimate, Finding
from bench.records import Case, Measurement


class Question(NamedTuple):
    """Which of two cases of one group is faster; `asked_by` says what needs to know it."""

    base: Case
    candidate: Case
    asked_by: tuple[str, ...] = ()

    @property
    def cases(self) -> frozenset[Case]:
        """Both cases."""
        return frozenset((self.base, self.candidate))


class Obstacle(NamedTuple):
    """What forbids an answer besides the interval; the fields are those of an Answer."""

    why: str = ""
    held: int = 0
    doubt: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What the records say about a question.

    `finding`: FASTER or SLOWER (the candidate), SAME (a tie: the whole interval lies within the
    margin), or UNDECIDED. `ratio` is candidate latency / base latency, with an interval that holds
    at every look and holds the interval of `compare`. `rounds` counts the rounds in which both took
    turns. `why` is the reason why more rounds cannot answer the question; "" where they may.
    `belief` is what the choice of the next round assumes about the ratio. `held`: so many good
    rounds must follow before an answer is possible; `doubt` names the verdict that forbids it.
    """

    question: Question
    finding: Finding
    ratio: Estimate | None
    rounds: int
    margin: float
    belief: Belief
    why: str = ""
    held: int = 0
    doubt: str = ""

    @property
    def is_open(self) -> bool:
        """Whether neither an order nor a tie was found."""
        return self.finding == "UNDECIDED"

    @property
    def is_measurable(self) -> bool:
        """Whether the question is open, and more rounds may answer it."""
        return self.is_open and not self.why

    @property
    def rate(self) -> float:
        """The expected answers of a further round (`belief.rate`)."""
        return rate(self.belief, self.margin, self.held)

    @property
    def more_rounds(self) -> int | None:
        """How many further rounds answer it with 80 %; None if 200 would not, or if answered."""
        return rounds_needed(self.belief, self.margin, self.held) if self.is_measurable else None


def answer(
    question: Question,
    base: Sequence[Measurement],
    candidate: Sequence[Measurement],
    margin: float = stats.MARGIN,
    obstacle: Obstacle | None = None,
) -> Answer:
    """The answer from the rounds of both cases; each needs at least one round, or an obstacle.

    An obstacle, such as a failure, leaves the question open whatever the rounds say. So do
    kinds of processes of which one is FASTER and another SLOWER, which more rounds do not mend.
    """
    logs = [
        statistics.fmean(pair.log_ratio for pair in pairs) for pairs in pair_rounds(base, candidate)
    ]
    at_each_look = sequence.ratio(logs)
    compared = compare(base, candidate, margin=margin) if at_each_look else None
    found = _outer(at_each_look, compared)
    finding = stats.find(found, margin)
    if obstacle is None and finding == "UNDECIDED" and compared:
        if not compared.kinds_agree:
            obstacle = Obstacle(why=OF_KINDS)
        elif stats.find(at_each_look, margin) != "UNDECIDED":
            obstacle = Obstacle(held=len(logs))  # the interval of `compare` narrows slowly
    return Answer(
        question,
        "UNDECIDED" if obstacle else finding,
        found,
        len(logs),
        margin,
        Belief.of(logs, _apart(base, candidate)),
        **(obstacle or Obstacle())._asdict(),
    )


def _outer(found: Estimate | None, compared: Comparison | None) -> Estimate | None:
    """The interval, extended to that of `compare`, which ranks and pages go by.

    That one holds each mixture of kinds of processes, and the spread within rounds that are alike
    by chance.
    """
    if found is None or compared is None or compared.ratio is None:
        return found
    return stats.outer(found, compared.ratio)


def _apart(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> float:
    """The log of the ratio of both latencies, whenever they were measured; 0.0 where unknown."""
    if not (base and candidate):
        return 0.0
    logs = [
        statistics.fmean(math.log(statistics.median(record.samples_s)) for record in rounds)
        for rounds in (base, candidate)
    ]
    return logs[1] - logs[0]
