"""The loop of `bench settle`: look at the records, choose a round, measure it, look again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import msgspec

from bench.analysis.settle import Board, Question, Round, choose
from bench.records import Case

MOST_APART = 2  # rounds in which two cases did not take turns, though they were measured together
APART = (
    "the two did not take turns in {} rounds: memory has no room for both at once, or one computes "
    "while the other is timed"
)

Look = Callable[[], Board]
Measure = Callable[[Sequence[Case]], Collection[Case]]  # returns those whose round was spoilt
Tell = Callable[[Board, Round, float], None]


def settle(
    look: Look,
    measure: Measure,
    seconds: float,
    tell: Tell = lambda *_: None,
    now: Callable[[], float] = time.monotonic,
    ask_again: Look | None = None,
) -> Board:
    """Measure rounds until every question is answered, or no further round fits into `seconds`.

    `look` reads the records anew, `measure` adds one round of the given cases to them, and returns
    the cases whose round other programs spoilt. `tell` hears of each round before it is measured,
    and of the seconds left. `ask_again` returns the board with the questions of the new order of
    rows, once no round can answer the old ones. The state is in the records alone, so a killed call
    goes on when it is made again. Returns the last board, in which a question whose cases cannot be
    measured together says so.
    """
    began = now()
    planned_s = 0.0
    apart: Counter[frozenset[Case]] = Counter()
    board = look()
    while True:
        gone_s = now() - began
        slowness = gone_s / planned_s if planned_s and gone_s else 1.0  # of rounds, by their plan
        hopeless = [q for q in _rounds(board) if apart[q.cases] >= MOST_APART]
        chosen = choose(board, (seconds - gone_s) / slowness, hopeless)
        if chosen is None:
            renewed = ask_again() if ask_again else board
            if _pairs(renewed) <= _pairs(board):
                return _with_reasons(board, hopeless)
            board = renewed
            continue
        tell(board, chosen, seconds - gone_s)
        spoilt = measure(chosen.cases)
        planned_s += chosen.seconds
        known, board = _rounds(board), look()
        now_known = _rounds(board)
        calm = [each for each in chosen.questions if each.cases.isdisjoint(spoilt)]
        apart.update(each.cases for each in calm if now_known.get(each) == known[each])


def _rounds(board: Board) -> dict[Question, int]:
    return {each.question: each.rounds for each in board.answers}


def _pairs(board: Board) -> set[frozenset[Case]]:
    return {each.question.cases for each in board.answers}


def _with_reasons(board: Board, hopeless: Collection[Question]) -> Board:
    """The board whose hopeless questions have a reason, so that they are not measurable."""
    why = APART.format(MOST_APART)
    answers = [
        msgspec.structs.replace(each, why=each.why or why)
        if each.question in hopeless and each.is_open
        else each
        for each in board.answers
    ]
    return board._replace(answers=answers)
