"""Profiles as text: terms, operators and differences in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.analysis.profile import summary
from bench.models import naming
from bench.records import Case, Failure, Peaks, Profile, ProfileRow
from bench.report.tables.markdown import to_markdown_table
from bench.text import NOTHING, markdown, significant

TOP_ROWS = 12
TERMS_NOTE = (
    "Milliseconds of an iteration, means of processes. Terms add up to the median iteration "
    "without the profiler: gaps are what lies between operators in profiled iterations, without "
    "what the profiler's events should cost; the residual is what it cost beyond that. So it tells "
    "whether the profiler disturbed what it saw, and not whether time is booked to the right "
    "operator, which is by the order in which the network calls them. GFLOP/s count two operations "
    "a multiply-accumulate; bytes are what an operator reads and writes if nothing stays in a "
    "cache, so a share of the roofline may exceed 100 %."
)

DIFFERENCE_NOTE = (
    "± is half the 95 % interval of a change, from processes of both that were profiled next to "
    "each other. A change within it may be the machine's."
)


def page(
    profiles: Sequence[Profile],
    peaks: Mapping[str, Peaks | None],
    failures: Sequence[Failure] = (),
) -> str:
    """All profiles: a table of terms, then each one's largest operators. `peaks` by case_id."""
    parts = ["# Where the time goes"]
    parts += [terms_table(profiles), TERMS_NOTE] if profiles else []
    parts += [
        f"**Failed:** {_name(each.case)}, with {markdown(each.error)}: {markdown(each.message)}"
        for each in failures
    ]
    for profile in profiles:
        parts.append(f"## {_name(profile.case)}")
        parts.append(notes(profile))
        parts.append(operators_table(profile, peaks.get(profile.case_id)))
    return "\n\n".join(parts) + "\n"


def terms_table(profiles: Sequence[Profile]) -> str:
    """A column for each case, a row for each term that any of them has."""
    terms = [(profile, summary.by_term(profile)) for profile in profiles]
    lines = []
    for term in summary.TERMS:
        if any(seconds[term] for _, seconds in terms):
            lines.append({"Term": term} | {_head(p): _ms(s[term]) for p, s in terms})
    total = {"Term": "**latency**"}
    lines.append(total | {_head(p): _ms(p.waterfall.plain_s) for p, _ in terms})
    return to_markdown_table(pd.DataFrame(lines))


def notes(profile: Profile) -> str:
    """The profiler's own cost, the utilisations, and what keeps it from being believed."""
    waterfall, used = profile.waterfall, profile.utilisation
    overhead = 100 * waterfall.overhead_s / waterfall.plain_s
    expected = 100 * waterfall.overhead_expected_s / waterfall.plain_s
    residual = 100 * waterfall.residual_s / waterfall.plain_s
    lines = [
        f"The profiler slowed an iteration by {overhead:.1f} % ({expected:.1f} % expected of "
        f"{profile.events} events and page faults); residual {residual:+.1f} %. Operators are "
        f"{100 * waterfall.busy_s / waterfall.plain_s:.0f} % of the latency."
    ]
    shares = {
        "GPU busy" if profile.case.device != "cpu" else "cores busy": used.busy,
        "of the plain latency": used.busy_corrected,
        "SM fill": used.sm_fill,
        "occupancy (estimated)": used.occupancy,
        "the driver's counter": used.sampled,
    }
    known = [f"{what} {100 * share:.0f} %" for what, share in shares.items() if share is not None]
    if known:
        lines.append("Utilisation: " + ", ".join(known) + ".")
    lines += [f"**Marked:** {doubt}." for doubt in summary.doubts(profile)]
    return " ".join(lines)


def operators_table(profile: Profile, peaks: Peaks | None, count: int = TOP_ROWS) -> str:
    """The operators that take most time."""
    total = profile.waterfall.plain_s
    lines = [
        {
            "Operator": markdown(row.operator),
            "Module": markdown(row.module) or NOTHING,
            "Category": row.category,
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
    """What changed between the rounds of two cases, term by term, and that it adds up."""
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
