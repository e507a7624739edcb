"""`in-use.md`: latency as a user meets it, beside that of the tight loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from bench.analysis import in_use, stats
from bench.analysis.in_use import InUse
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models import naming
from bench.records import Case, Level
from bench.records.scenario import COLD, PACE, PIPELINE, SUSTAINED
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import NOTHING, between, in_unit, markdown, milliseconds, significant

MEGAHERTZ = 1e6
HOW_TO_READ = """\
*Tight*: calls one after another, the latency of all other tables. *× tight* is the ratio of the \
latencies, from processes that took turns, with its 95 % interval. † marks SUSPECT and ‡ INVALID \
rows; results.md has the reasons."""
COLD_TEXT = """\
From the start of the process, when Python runs, to the first answer. *import*: torch, torchvision \
and timm; for a runtime, its own packages alone, since its process needs no torch (NumPy is loaded \
before). *build*: the network with random weights, or with those of a file. *load*: to the device, \
or the file of a runtime. Merging is left out: a network that is deployed is stored as merged. The \
files are in the memory of the system already, and so are those that a compiler wrote at an \
earlier start."""
PACE_TEXT = """\
A latency counts from the moment at which an image is due. *Late*: the answer came after the next \
image was due. An image that comes while the network is busy waits; a newer one takes its place, \
and the older one is *dropped*. A percentile is shown where the samples support it."""
SUSTAINED_TEXT = """\
*First* and *last* are the first and the last tenth of the time; the ratio has an interval from \
three rounds on. The levels are those of the chip at the end of each; the energy is that of an \
image, by the counter of the chip."""
PIPELINE_TEXT = """\
An image of 500×375 pixels in RGB is resized, cropped and normalised as the network's own \
configuration says, by timm's transform in one thread, copied to the device, and its answer copied \
back. Decoding is left out."""


def render(device: DeviceResults) -> dict[str, bytes]:
    """The page of a device; nothing unless a scenario was measured."""
    lines = in_use.with_tight(device.in_use, device.rows)
    if not lines:
        return {}
    lines.sort(key=lambda line: line.row.case.when.place)
    parts = [f"# Latency in use on {markdown(device.label)}", describe(device.environment)]
    parts += [_table(_overview(lines)), HOW_TO_READ, *_orders(lines)]
    for kind, heading, text, cells in SECTIONS:
        own = [line for line in lines if line.row.case.when.kind == kind and line.row.rounds]
        if own:
            parts += [f"## {heading}", _table([_named(line) | cells(line) for line in own]), text]
    return {"in-use.md": ("\n\n".join(parts) + "\n").encode()}


def _table(lines: Sequence[dict[str, str]]) -> str:
    return to_markdown_table(pd.DataFrame(list(lines)).fillna(NOTHING))


def _title(case: Case) -> str:
    """The title of the case of the tight loop, with its batch above 1."""
    alone = in_use.tight(case)
    return naming.title(alone) + (f", batch {case.batch}" if case.batch > 1 else "")


def _overview(lines: Sequence[InUse]) -> list[dict[str, str]]:
    """A line per network, and a column per scenario."""
    found: dict[Case, dict[str, str]] = {}
    for line in lines:
        alone = in_use.tight(line.row.case)
        known = found.setdefault(
            alone,
            {
                "Model": markdown(_title(alone)),
                "Tight (ms)": _milliseconds(line.tight) if line.tight else NOTHING,
            },
        )
        ratio = f", {_times(line.ratio)}" if line.ratio else ""
        times = "" if line.row.case.when.is_alone else ", × tight"
        heading = f"{markdown(line.row.case.scenario)} (ms{times})"
        known[heading] = _milliseconds(line.row) + ratio
    return list(found.values())


def _milliseconds(row: Row) -> str:
    if row.failure:
        return f"failed ({row.failure.stage})"
    return f"{significant(milliseconds(row.typical_s))}{doubts.marks(row)}"


def _times(ratio: Estimate) -> str:
    return f"{between(*ratio)}×"


def _orders(lines: Sequence[InUse]) -> list[str]:
    title = {in_use.tight(line.row.case): markdown(_title(line.row.case)) for line in lines}
    found = [
        f"- {markdown(each.scenario)}: {in_use.of_order(each, title)}"
        for each in in_use.orders(lines)
        if each.pairs
    ]
    return ["## Order", "\n".join(found)] if found else []


def _named(line: InUse) -> dict[str, str]:
    case = line.row.case
    amount = {"Scenario": markdown(case.scenario)} if case.when.amount else {}
    return {"Model": markdown(_title(case)), **amount}


def _of_parts(line: InUse) -> dict[str, str]:
    interval = line.row.interval
    ends = interval and f" ({' to '.join(significant(milliseconds(s)) for s in interval[1:])})"
    each = in_use.parts(line.row.rounds)
    return {
        "Total (ms)": f"{_milliseconds(line.row)}{ends or ''}",
        **{f"{markdown(name)} (ms)": significant(milliseconds(s)) for name, s in each.items()},
    }


def _of_pace(line: InUse) -> dict[str, str]:
    found, tail = in_use.arrivals(line.row.rounds), line.row.tail
    came = found.answered + found.dropped
    median = line.row.summary.median if line.row.summary else None
    return {
        "Median (ms)": significant(milliseconds(median)),
        **{f"{name} (ms)": significant(milliseconds(s)) for name, s in tail._asdict().items()},
        "Images": str(came),
        "Late (%)": _share(found.late, found.answered),
        "Dropped (%)": _share(found.dropped, came),
    }


def _share(part: int, whole: int) -> str:
    """A share in per cent with its 95 % interval (Wilson); 0 and 100 as they are."""
    if not whole:
        return NOTHING
    known = stats.share(part, whole)
    return " to ".join(significant(100 * each, 2) for each in known[1:]) if part else "0"


def _of_course(line: InUse) -> dict[str, str]:
    found = in_use.course(line.row)
    if found is None:
        return {}
    ends = (found.first or Level(), found.last or Level())
    return {
        "First (ms)": significant(milliseconds(found.first_s)),
        "Last (ms)": significant(milliseconds(found.last_s)),
        "Last / first": between(*found.ratio) if found.ratio else significant(found.point),
        "Clock (MHz)": _change([in_unit(MEGAHERTZ, each.clock_hz) for each in ends]),
        "Temperature (°C)": _change([each.temperature_c for each in ends]),
        "Power (W)": _change([each.power_w for each in ends]),
        "Energy (mJ/img)": significant(in_unit(0.001, found.energy_j)),
    }


def _change(levels: Sequence[float | None]) -> str:
    known = [each for each in levels if each is not None]
    return " → ".join(map(significant, known)) if len(known) == len(levels) else NOTHING


Cells = Callable[[InUse], dict[str, str]]
SECTIONS: tuple[tuple[str, str, str, Cells], ...] = (
    (COLD, "Start of a process", COLD_TEXT, _of_parts),
    (PACE, "At a fixed rate", PACE_TEXT, _of_pace),
    (SUSTAINED, "Sustained", SUSTAINED_TEXT, _of_course),
    (PIPELINE, "With preprocessing and copies", PIPELINE_TEXT, _of_parts),
)
