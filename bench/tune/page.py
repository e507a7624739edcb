"""The page of a tuning: the answer, the final, and every candidate with its fate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pandas as pd

from bench.analysis.settle import Answer
from bench.models.naming import image, weights_of
from bench.records import Case, Environment, Measurement
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import MIB, NOTHING, duration, markdown, markdown_code, significant
from bench.tune import answer
from bench.tune.result import Result, failures_in, measured

METHOD = (
    "The search tries the forms in eager mode, the fastest form in each runtime, every form in the "
    "fastest runtimes, then allocators, huge pages and threads, and with `--stages` other forms in "
    "one stage of the fastest candidate. After each of these steps, the slower half drops out. "
    "Ratios of the search come from few rounds: they only choose. The final "
    "measures the fastest candidates and the baseline again, in new processes. Its intervals hold "
    "at every look."
)


def to_markdown(result: Result, environment: Environment) -> str:
    """Return the page in Markdown."""
    case = result.tuning.space.forms[0]
    title = f"The fastest way to run {case.model} at batch {case.batch}"
    parts = [
        f"# {markdown(title)}",
        markdown(" ".join(result.sentences)),
        markdown(_setting(result)),
        describe(environment),
        "## The final",
        to_markdown_table(pd.DataFrame(_final_rows(result))),
        "## All candidates",
        METHOD,
        to_markdown_table(pd.DataFrame(_candidate_rows(result))),
    ]
    if result.lacking:
        listed = "\n".join(f"- {markdown(each)}" for each in result.lacking)
        parts += ["## Not tried here", listed]
    parts.append(f"To repeat this, run {markdown_code(environment.command)}.")
    return "\n\n".join(parts) + "\n"


def _setting(result: Result) -> str:
    case = result.tuning.space.forms[0]
    size, spent = image(case), duration(result.tuning.spent_s)
    return f"Images: {size}. Weights: {weights_of(case)}. The tuning took {spent}."


def _final_rows(result: Result) -> list[dict[str, str]]:
    return [
        {
            "Other": markdown(answer.described(each.question.base)),
            "Candidate": markdown(answer.described(each.question.candidate)),
            "Finding": f"{each.finding}",
            "Latency, candidate / other": _ratio(each),
            "Rounds": str(each.rounds),
        }
        for each in result.board.answers
    ]


def _ratio(given: Answer) -> str:
    ratio = given.ratio
    return f"{ratio.point:.3f} ({ratio.low:.3f} to {ratio.high:.3f})" if ratio else NOTHING


def _candidate_rows(result: Result) -> list[dict[str, str]]:
    """A row per candidate: the fastest first, those without a round last."""
    seconds = result.latencies
    baseline_s = seconds.get(result.outcome.baseline, math.nan)
    ordered = sorted(result.tuning.known, key=lambda case: (seconds.get(case, math.inf), case))
    return [
        _candidate_row(result, case, seconds.get(case, math.nan), baseline_s) for case in ordered
    ]


def _candidate_row(result: Result, case: Case, own_s: float, baseline_s: float) -> dict[str, str]:
    rounds = [each for each in measured(result.search) if each.case == case]
    return {
        "Candidate": markdown(answer.described(case)),
        "Latency in the search (ms)": significant(1e3 * own_s),
        "Times as fast as the baseline": significant(baseline_s / own_s),
        "Rounds": str(len(rounds)),
        "Memory (MiB)": _memory(rounds),
        "Load (s)": _load(rounds),
        "Fate": markdown(_fate(result, case)),
    }


def _fate(result: Result, case: Case) -> str:
    outcome, failure = result.outcome, failures_in(result.final).get(case)
    if failure:
        return f"failed in the final, at {failure.stage}: {failure.message}"
    if outcome.candidate and case == outcome.winner:
        return "the fastest, not decided" if outcome.finding == "UNDECIDED" else "the answer"
    if case in result.tuning.baselines:
        return "baseline in the final"
    why = {each.case: each.why for each in result.tuning.dropped}
    return why.get(case, "in the final")


def _memory(rounds: Sequence[Measurement]) -> str:
    known = [each.cost.peak_memory_bytes for each in rounds if each.cost.peak_memory_bytes]
    return significant(statistics.median(known) / MIB) if known else NOTHING


def _load(rounds: Sequence[Measurement]) -> str:
    loads = [each.stages_s.load for each in rounds]
    return significant(statistics.median(loads)) if loads else NOTHING
