"""`tuned.md`: all tunings of a folder in one table, as the README shows it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.models.naming import title
from bench.records import Case, Environment, Record
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import NOTHING, duration, markdown, milliseconds, significant
from bench.tune import answer
from bench.tune.final import Outcome
from bench.tune.result import Result, result_of
from bench.tune.space import EXACT
from bench.tune.tuning import Tuning

HOW_TO_READ = """\
Latencies in ms for a whole batch. "As it comes" is the network as it is trained, in eager mode; \
its latency is that of the search, which has few rounds. The other latencies and all ratios are of \
the final, in new processes: how many times as fast as the best form in eager mode, with the 95 % \
interval. The share of the peak is that of the fastest way in \
fp32: its MACs per second over the highest rate of matrix products."""
WORDS = {"FASTER": "", "SAME": " no gain", "SLOWER": " slower", "UNDECIDED": " not decided"}


def to_markdown(
    tunings: Sequence[Tuning], records: Sequence[Record], environment: Environment, margin: float
) -> str:
    """Return the page in Markdown; a tuning without a final has no row."""
    results = [result_of(each, records, environment, margin) for each in tunings]
    known = [each for each in results if each.outcome.candidate]
    ordered = sorted(known, key=lambda each: (_case(each).batch, _case(each).model))
    parts = [
        "# Networks as they run fastest",
        describe(environment),
        to_markdown_table(pd.DataFrame([_row(each) for each in ordered])),
        HOW_TO_READ,
    ]
    return "\n\n".join(parts) + "\n"


def _case(result: Result) -> Case:
    return result.tuning.space.forms[0]


def _row(result: Result) -> dict[str, str]:
    case, found = _case(result), result.outcome
    is_exact = found.candidate is not None and found.candidate.precision == EXACT
    return {
        "Model": markdown(title(case)),
        "Batch": str(case.batch),
        "Eager, as it comes": _ms(result.latencies.get(case)),
        "Best form in eager": f"{_ms(result.latency_s(found.baseline))} ({found.baseline.form})",
        "Tuned in fp32": _tuned(result, found if is_exact else result.exact),
        "Tuned in other precisions": _tuned(result, None if is_exact else found),
        "Share of the peak": f"{result.share_of_peak:.0%}" if result.share_of_peak else NOTHING,
        "Time": duration(result.tuning.spent_s),
    }


def _ms(seconds: float | None) -> str:
    return significant(milliseconds(seconds))


def _tuned(result: Result, found: Outcome | None) -> str:
    if found is None or found.candidate is None or found.ratio is None:
        return NOTHING
    ratio, case = found.ratio, found.candidate
    gain, low, high = (f"{1 / each:.2f}" for each in (ratio.point, ratio.high, ratio.low))
    words = f"{gain}× ({low} to {high}){WORDS[found.finding]}, {case.form} {answer.way(case)}"
    return f"{_ms(result.latency_s(case))}, {markdown(words)}"
