"""Profiles as Markdown: terms, operators, and differences of two cases. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.analysis.profile import summary
from bench.devices import has_queue
from bench.models import naming
from bench.records import Case, Failure, Peaks, Profile, ProfileRow
from bench.report.tables.markdown import to_markdown_table
from bench.text import NOTHING, markdown, significant

TOP_ROWS = 12
TERMS_NOTE = (
    "All times are milliseconds per iteration, averaged over processes. The terms add up to the "
    "latency: the median iteration without the profiler. Gaps are the time between operators minus "
    "the expected cost of the profiler's events. The residual is the cost of the profiler beyond "
    "that expectation: it shows whether the profiler disturbed the measurement. It does not show "
    "whether time is assigned to the right operator; that follows the order in which the network "
    "calls its operators, and in a runtime the names of its nodes. GFLOP/s counts two operations "
    "per multiply-accumulate. Bytes assume that nothing stays in a cache, so the share of the "
    "roofline may exceed 100 %."
)

DIFFERENCE_NOTE = (
    "± is half the width of the 95 % interval of a change, from processes of both cases that were "
    "profiled in the same round of one run; fewer than three pairs of processes have none. A "
    "change smaller than ± may be noise of the machine."
)


def page(
    profiles: Sequence[Profile],
    peaks: Mapping[str, Peaks | None],
    failures: Sequence[Failure] = (),
    replaced: Mapping[str, str] | None = None,
) -> str:
    """`profile.md`: a table of terms, then the slowest operators of each profile.

    `peaks` maps a case_id to the peaks of its device, for the share of the roofline. `replaced`
    maps a case_id to the sentence that its profile replaced others, or to "".
    """
    parts = ["# Where the time goes"]
    parts += [terms_table(profiles), TERMS_NOTE] if profiles else []
    parts += [
        f"**Failed:** {_name(each.case)}, with {markdown(each.error)}: {markdown(each.message)}"
        for each in failures
    ]
    for profile in profiles:
        parts.append(f"## {_name(profile.case)}")
        parts.append(" ".join([notes(profile), (replaced or {}).get(profile.case_id, "")]).strip())
        parts.append(operators_table(profile, peaks.get(profile.case_id)))
    return "\n\n".join(parts) + "\n"


def terms_table(profiles: Sequence[Profile]) -> str:
    """A column per case, and a row per term that is not zero in every case."""
    terms = [(profile, summary.by_term(profile)) for profile in profiles]
    lines = []
    for term in summary.TERMS:
        if any(seconds[term] for _, seconds in terms):
            lines.append({"Term": term} | {_head(p): _ms(s[term]) for p, s in terms})
    total = {"Term": "**latency**"}
    lines.append(total | {_head(p): _ms(p.waterfall.plain_s) for p, _ in terms})
    return to_markdown_table(pd.DataFrame(lines))


def notes(profile: Profile) -> str:
    """The profiler's overhead, the utilisations, and the doubts about a profile."""
    waterfall, used = profile.waterfall, profile.utilisation
    overhead = 100 * waterfall.overhead_s / waterfall.plain_s
    expected = 100 * waterfall.overhead_expected_s / waterfall.plain_s
    residual = 100 * waterfall.residual_s / waterfall.plain_s
    lines = [
        f"The profiler slowed an iteration by {overhead:.1f} % ({expected:.1f} % expected from "
        f"{profile.events} events and page faults); residual {residual:+.1f} %. Operators take "
        f"{100 * waterfall.busy_s / waterfall.plain_s:.0f} % of the latency."
    ]
    shares = {
        "GPU busy" if has_queue(profile.case.device) else "cores busy": used.busy,
        "of the plain latency": used.busy_corrected,
        "SM fill": used.sm_fill,
        "occupancy (estimated)": used.occupancy,
        "the driver's counter": used.sampled,
    }
    known = [f"{what} {100 * share:.0f} %" for what, share in shares.items() if share is not None]
    if known:
        lines.append("Utilisation: " + ", ".join(known) + ".")
    lines += [f"**Marked:** {markdown(doubt)}." for doubt in summary.doubts(profile)]
    return " ".join(lines)


def operators_table(profile: Profile, peaks: Peaks | None, count: int = TOP_ROWS) -> str:
    """The `count` operators that take the most time."""
    total = profile.waterfall.plain_s
    lines = [
        {
            "Operator": markdown(row.operator),
            "Module": markdown(row.module) or NOTHING,
            "Category": markdown(row.category),
            "Calls": str(row.calls),
            "Time (ms)": _ms(row.time_s),
            "Share (%)": significant(100 * row.time_s / total),
            "GFLOP/s": significant(_rate(row.macs, row, 2e-9)),
            "GB/s": significant(_rate(row.bytes, row, 1e-9)),
            "Roofline (%)": significant(_percent(summary.roofline_share(row, peaks))),
        }
        for row in summary.largest(profile, count)
    ]
    return to_markdown_table(pd.DataFrame(lines))


def difference_page(before: Sequence[Profile], after: Sequence[Profile]) -> str:
    """A page with the change of each term from one case to another; the changes add up."""
    heads = [f"{_head(rounds[0])} (ms)" for rounds in (before, after)]
    lines = [
        {
            "Term": f"**{change.term}**" if change.term == summary.LATENCY else change.term,
            heads[0]: _ms(change.before_s),
            heads[1]: _ms(change.after_s),
            "Change (µs)": f"{1e6 * change.seconds:+.0f}",
            "±": NOTHING if change.within_s is None else f"{1e6 * change.within_s:.0f}",
        }
        for change in summary.difference(before, after)
    ]
    names = [_name(rounds[0].case) for rounds in (before, after)]
    table = to_markdown_table(pd.DataFrame(lines))
    return "\n\n".join([f"# From {names[0]} to {names[1]}", table, DIFFERENCE_NOTE]) + "\n"


def _head(profile: Profile) -> str:
    return _name(profile.case)


def _name(case: Case) -> str:
    return markdown(naming.selector(case, batch=True))


def _rate(amount: int | None, row: ProfileRow, unit: float) -> float | None:
    return None if not amount or not row.time_s else amount / row.time_s * unit


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _ms(seconds: float) -> str:
    return significant(1e3 * seconds)
