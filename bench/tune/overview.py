"""`tuned.md`: all tunings of a folder in one table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.models.naming import image, title
from bench.records import Case, Environment, Record
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import NOTHING, duration, markdown, milliseconds, significant
from bench.tune import answer
from bench.tune.final import Outcome
from bench.tune.result import Result, result_of
from bench.tune.space import EXACT
from bench.tune.tuning import Tuning

HOW_TO_READ = """\
Latencies in ms for a whole batch. *Eager, as it comes*: the network as it is built, in eager \
mode; the latency is that of the search, which has few rounds. All others are of the final, in new \
processes. A ratio says how many times as fast as the best form in eager mode it is, with the 95 % \
interval; where two forms are about the best, against the one over which it gains less. *No gain*: \
it is slower, or the same within {margin:g} %. *Share of the peak*: the MACs per second of the \
fastest way in fp32 over the highest rate of matrix products; it may exceed 100 % where a runtime \
computes a convolution with fewer products (Winograd). The page of each tuning has all \
candidates."""


def to_markdown(
    tunings: Sequence[Tuning], records: Sequence[Record], environment: Environment, margin: float
) -> str:
    """Return the page in Markdown: of each network and batch, the tuning that was begun last.

    A tuning without an answer has no row.
    """
    results = [result_of(each, records, environment, margin) for each in _by_age(tunings, records)]
    newest = {_what(each): each for each in results if each.outcome.candidate}
    rows = [_row(newest[what]) for what in sorted(newest)]
    parts = [
        "# Networks as they run fastest",
        describe(environment),
        to_markdown_table(pd.DataFrame(rows)) if rows else "No tuning has an answer yet.",
        HOW_TO_READ.format(margin=100 * margin),
    ]
    return "\n\n".join(parts) + "\n"


def _by_age(tunings: Sequence[Tuning], records: Sequence[Record]) -> list[Tuning]:
    """The tunings, the one that was begun last at the end."""
    runs = [each.run_id for each in records if isinstance(each, Environment)]
    began = {run_id: place for place, run_id in reversed(list(enumerate(runs)))}
    return sorted(tunings, key=lambda each: began.get((*each.search_runs, "")[0], -1))


def _case(result: Result) -> Case:
    return result.tuning.space.forms[0]


def _what(result: Result) -> tuple[int, str, str]:
    """What has one row: a batch of one size of images, and the network."""
    case = _case(result)
    return (case.batch, image(case), case.model)


def _row(result: Result) -> dict[str, str]:
    case, found = _case(result), result.outcome
    is_exact = found.candidate is not None and found.candidate.precision == EXACT
    share = result.share_of_peak
    return {
        "Model": markdown(title(case)),
        "Batch": str(case.batch),
        "Eager, as it comes": _ms(result.latencies.get(case)),
        "Best form in eager": f"{_ms(result.latency_s(found.baseline))} ({found.baseline.form})",
        "Tuned in fp32": _tuned(result, found if is_exact else result.exact),
        "Tuned in other precisions": _tuned(result, None if is_exact else found),
        "Share of the peak": f"{share:.0%}" if share else NOTHING,
        "Time": duration(result.tuning.spent_s),
    }


def _ms(seconds: float | None) -> str:
    return significant(milliseconds(seconds))


def _tuned(result: Result, found: Outcome | None) -> str:
    if found is None or found.candidate is None or found.ratio is None:
        return NOTHING
    if found.finding in ("SAME", "SLOWER"):
        return "no gain"
    ratio, case = found.ratio, found.candidate
    gain, low, high = (f"{1 / each:.2f}" for each in (ratio.point, ratio.high, ratio.low))
    doubt = ", not decided" if found.finding == "UNDECIDED" else ""
    words = f"{gain}× ({low} to {high}{doubt}), {case.form} {answer.way(case)}"
    return f"{_ms(result.latency_s(case))}, {markdown(words)}"
