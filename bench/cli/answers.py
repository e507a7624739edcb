"""How `bench settle` prints its answers: a table, sentences about open questions, and JSON."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from bench.analysis.settle import Answer, Board, remaining_s
from bench.cli.console import add_row, say, say_table
from bench.models.naming import selector
from bench.text import duration, significant, some_of

SIGNS = {"FASTER": ">", "SLOWER": "<", "SAME": "=", "UNDECIDED": "?"}  # base latency, candidate's


def show(console: Console, board: Board) -> None:
    """Print each answer, why a question is open and what it would cost, and a summary."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("latency", no_wrap=True, overflow="ellipsis")
    for heading in ("ratio", "interval", "rounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("asked by", no_wrap=True, overflow="ellipsis")
    for each in board.answers:
        ratio = each.ratio
        cells = (
            [f"{ratio.point:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"] if ratio else ["", ""]
        )
        asked_by = some_of(each.question.asked_by)
        add_row(table, _sentence(each), *cells, str(each.rounds), asked_by)
    say(console, "")
    say_table(console, table)
    say(console, "")
    for each in board.answers:
        if each.is_open:
            say(console, f"open: {_sentence(each)}: {why_open(board, each)}")
    say(console, f"{len(board.answers)} questions: {counted(board)}")
    say(console, "An answer holds for the times of its rounds; on another day, ratios may differ.")


def counted(board: Board) -> str:
    """Return how many questions have which answer: `9 decided, 1 tied within 2 %, 3 open`."""
    kinds = Counter(each.finding for each in board.answers)
    margin = 100 * board.answers[0].margin if board.answers else 0.0
    decided = kinds["FASTER"] + kinds["SLOWER"]
    tied = f"{kinds['SAME']} tied within {significant(margin)} %"
    return f"{decided} decided, {tied}, {kinds['UNDECIDED']} open"


def cost(board: Board) -> str:
    """Return what the open questions would cost: `about 12 min would answer 2 of the open`."""
    likely = [each for each in board.open if each.more_rounds]
    if not likely:
        return "200 more rounds would probably not answer an open one"
    return f"about {duration(remaining_s(board, likely))} would answer {len(likely)} of the open"


def why_open(board: Board, answer: Answer) -> str:
    """Return the reason why a question is open, and what would answer it."""
    if answer.why:
        return answer.why
    doubt = f"{answer.doubt}; " if answer.doubt else ""
    if answer.more_rounds is None:
        return f"{doubt}200 more rounds would probably not answer it: the two are too close"
    cost = duration(remaining_s(board, [answer]))
    rounds = "1 more round" if answer.more_rounds == 1 else f"{answer.more_rounds} more rounds"
    quiet = " on a quiet machine" if doubt else ""
    return f"{doubt}about {rounds} of both{quiet}, {cost}, would probably answer it"


def to_builtins(board: Board) -> list[dict[str, object]]:
    """Return one dictionary per question, for JSON; times are in seconds."""
    return [_to_builtins(board, each) for each in board.answers]


def _to_builtins(board: Board, answer: Answer) -> dict[str, object]:
    question, ratio = answer.question, answer.ratio
    return {
        "base": selector(question.base, batch=True),
        "candidate": selector(question.candidate, batch=True),
        "base_id": question.base.case_id,
        "candidate_id": question.candidate.case_id,
        "asked_by": list(question.asked_by),
        "finding": answer.finding,
        "ratio": ratio.point if ratio else None,
        "interval": [ratio.low, ratio.high] if ratio else None,
        "rounds": answer.rounds,
        "more_rounds": answer.more_rounds,
        "more_s": remaining_s(board, [answer]) if answer.more_rounds else None,
        "why_open": why_open(board, answer) if answer.is_open else None,
    }


def _sentence(answer: Answer) -> str:
    """Return `a < b`, or > or =, of the two latencies; `a ? b` if the question is open."""
    base, candidate = answer.question.base, answer.question.candidate
    return f"{selector(base)} {SIGNS[answer.finding]} {selector(candidate, batch=True)}"
