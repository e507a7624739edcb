"""`results.md` and `results.csv`: one line per case. Headings contain the units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pandas as pd

from bench.analysis import ranks
from bench.analysis.kinds import faults_text, kinds_text
from bench.analysis.rows import Row
from bench.analysis.stats import Tail
from bench.analysis.twins import twins, were_told_apart
from bench.models import naming
from bench.records import Case, Cost
from bench.records.scenario import TIGHT
from bench.report.comparison import in_words
from bench.report.frame import frame
from bench.report.tables import csv
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import (
    GIGA,
    MEGA,
    MIB,
    NOTHING,
    SPREAD_MS,
    in_unit,
    markdown,
    milliseconds,
    significant,
)

FAULTS = "Page faults a call (processes)"
OF_SOME_ROWS = [
    *(f"{name} (ms)" for name in Tail._fields),
    FAULTS,
    "Device time (ms)",
    "Pipelined (img/s)",
    "GPU busy (%)",
    "Power (W)",
    "Energy (mJ/img)",
]

# What tells cases of one name apart, besides the batch.
TOLD: tuple[Callable[[Case], str], ...] = (
    naming.image,
    lambda case: naming.threads(case.threads),
    lambda case: case.backend,
    lambda case: case.precision,
    lambda case: case.workload,
    lambda case: case.scenario,
)

INTERVALS = (
    "A 95 % interval holds for the times at which the case was measured, and for the kinds of "
    "processes that were met: *k* processes miss a kind that one in ten has with a probability of "
    "0.9^*k*, three with 73 %, twelve with 28 %. *Between processes* is the standard deviation of "
    "the processes' medians, relative to the latency."
)

KINDS = (
    "Processes of one case differ by their page faults: memory that a call gives back is mapped "
    "anew by the next. A line has the number of processes of each kind, with their page faults a "
    "call and their latency. The interval of such a case, or of a ratio with it, holds for every "
    "mixture of its kinds that their numbers allow. A kind that none of its processes had is not "
    "covered."
)

TWINS = (
    "The networks of these cases have the same structure, so their true ratio is 1: every report "
    "tests itself with them. A finding of FASTER or SLOWER is a false alarm. Good 95 % intervals "
    "cause it in fewer than one of 20 pairs, since a finding must also be beyond 2 %; more show "
    "that the intervals of ratios are too narrow here. A ratio holds for the times at which both "
    "cases were measured. Pairs that share a case are not independent."
)


def to_csv(rows: Sequence[Row]) -> str:
    """One line per case; SI units, six significant digits."""
    lines = frame(rows).astype(object)
    return csv.to_csv(lines, lines.where(lines.notna(), None).itertuples(index=False))


def to_markdown(rows: Sequence[Row]) -> str:
    """Per environment: a table per group and allocation, then doubts, then failures."""
    parts = []
    for environment, group in itertools.groupby(rows, key=lambda row: row.environment):
        members = list(group)
        parts.append(f"# {markdown(environment.chip.name)}\n\n{describe(environment)}")
        members.sort(key=_section)
        for _, cases in itertools.groupby(members, _section):
            several = list(cases)
            lines = _without_empty(pd.DataFrame([_line(row) for row in several]))
            parts.append(f"{_heading(several[0].case)}\n\n{to_markdown_table(lines)}")
        parts += [INTERVALS] * any(row.interval is not None for row in members)
        parts += [*_kinds(members), *_twins(members), *_doubts(members), *_failures(members)]
    return "\n\n".join(parts) + "\n"


def _section(row: Row) -> tuple[object, ...]:
    """The rows of a section are ranked among themselves; the default allocation comes first."""
    case = row.case
    what = (case.trains, case.scenario != TIGHT, case.scenario, case.input)
    place = (case.device, case.batch, case.resolution)
    return (*place, *what, bool(naming.allocation(case)), *case.allocation)


def _heading(case: Case) -> str:
    memory = naming.allocation(case)
    size = markdown(naming.size(case))
    kind = ", training steps" * case.trains
    kind += f", {markdown(case.scenario)}" * (case.scenario != TIGHT)
    return f"## Batch {case.batch} at {size}{kind}" + f", {markdown(memory)}" * bool(memory)


def _without_empty(lines: pd.DataFrame) -> pd.DataFrame:
    """`lines` without those columns of OF_SOME_ROWS that are empty in every row."""
    empty = [name for name in OF_SOME_ROWS if (lines[name] == NOTHING).all()]
    return lines.drop(columns=empty)


def _line(row: Row) -> dict[str, str]:
    case, summary, cost = row.case, row.summary, row.cost or Cost()
    failed = f"failed ({row.failure.stage})" if row.failure else NOTHING
    return {
        "Model": markdown(case.label or case.model),
        "Form": markdown(case.form),
        "Backend": markdown(case.backend),
        "Precision": markdown(case.precision),
        "Threads": str(case.threads),
        "Latency (ms)": significant(milliseconds(row.typical_s)) if summary else failed,
        "95 % interval (ms)": _interval(row),
        "Between processes (%)": significant(in_unit(0.01, row.spread), 2),
        "Rank": ranks.text(row.rank) or NOTHING,
        "Throughput (img/s)": significant(row.throughput),
        SPREAD_MS: summary.spread_ms if summary else NOTHING,
        "Median (ms)": significant(milliseconds(summary.median if summary else None)),
        **{f"{name} (ms)": significant(milliseconds(s)) for name, s in row.tail._asdict().items()},
        "Samples (processes)": f"{summary.samples} ({summary.processes})" if summary else NOTHING,
        FAULTS: faults_text(row.kinds) or NOTHING,
        "Params (M)": significant(in_unit(MEGA, cost.params), 4),
        "MACs (G)": significant(in_unit(GIGA, cost.macs)),
        "Peak memory (MiB)": significant(in_unit(MIB, cost.peak_memory_bytes)),
        "Device time (ms)": significant(milliseconds(row.gpu.device_s)),
        "Pipelined (img/s)": significant(row.gpu.pipelined_img_s),
        "GPU busy (%)": significant(in_unit(0.01, row.gpu.utilisation)),
        "Power (W)": significant(row.gpu.power_w),
        "Energy (mJ/img)": significant(in_unit(0.001, row.gpu.energy_per_image_j)),
        "Top-1 (%)": _top1(row),
        "Ended by": row.stopped_by or NOTHING,
        "Verdict": row.verdict.level if row.verdict else NOTHING,
    }


def _interval(row: Row) -> str:
    if row.interval is None:
        return NOTHING
    return " to ".join(significant(milliseconds(bound)) for bound in row.interval[1:])


def _kinds(rows: Sequence[Row]) -> list[str]:
    """The rows whose processes are of several kinds, with the latency of each kind."""
    where = _naming(rows)
    lines = [f"- {where(row.case)}: {kinds_text(row.kinds)}" for row in rows if len(row.kinds) > 1]
    return [f"## Kinds of processes\n\n{KINDS}\n\n" + "\n".join(lines)] if lines else []


def _twins(rows: Sequence[Row]) -> list[str]:
    """How many pairs of twins were told apart, and which."""
    pairs = twins(rows)
    if not pairs:
        return []
    apart, where = were_told_apart(pairs), _naming(rows)
    lines = [
        f"- {markdown(naming.name(each.candidate))} against {where(each.base)}: "
        f"{in_words(each.ratio)}"
        for each in apart
    ]
    counted = f"{len(apart)} of {len(pairs)} pairs were told apart" + (":" if lines else ".")
    parts = ["## Cases that differ in name only", f"{TWINS} {counted}", "\n".join(lines)]
    return ["\n\n".join(part for part in parts if part)]


def _naming(rows: Sequence[Row]) -> Callable[[Case], str]:
    """A function that names a case with its batch, and with what else differs between `rows`."""
    cases = [row.case for row in rows]
    told = [tell for tell in TOLD if len({tell(case) for case in cases}) > 1]

    def where(case: Case) -> str:
        return markdown(
            ", ".join([naming.name(case), f"batch {case.batch}", *(tell(case) for tell in told)])
        )

    return where


def _doubts(rows: Sequence[Row]) -> list[str]:
    where = _naming(rows)
    lines = [
        f"- {where(row.case)}: {markdown(row.verdict.text)}"
        for row in rows
        if row.verdict and row.verdict.reasons
    ]
    return ["## Doubts\n\n" + "\n".join(lines)] if lines else []


def _failures(rows: Sequence[Row]) -> list[str]:
    where = _naming(rows)
    lines = [
        f"- {where(row.case)}: failed at "
        f"{row.failure.stage} with {markdown(row.failure.error)}: {markdown(row.failure.message)}"
        for row in rows
        if row.failure
    ]
    return ["## Failures\n\n" + "\n".join(lines)] if lines else []


def _top1(row: Row) -> str:
    """Top-1 on ImageNet-1K and its source, such as `82.1 (paper)`."""
    known = row.accuracy()
    return f"{significant(known.top1)} ({markdown(known.source)})" if known else NOTHING
