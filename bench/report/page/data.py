"""The data of the page as JSON: columns of numbers, and each string listed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis import ranks
from bench.analysis.profile import summary
from bench.analysis.profile.recorded import ProfileHistory
from bench.analysis.rows import Row
from bench.models import forms, naming
from bench.paper.accuracy import DATASETS, IMAGENET
from bench.records import DEFAULT, Cost
from bench.report import colours
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import PALE
from bench.report.figures.figure5 import CATEGORY_COLOURS, HATCHES, segments, terms, titles
from bench.report.gather import Reading
from bench.report.page import budget
from bench.report.page.answers import answers
from bench.report.page.columns import Json, column, columns, rounded
from bench.text import facts, in_script

Numbered = list[tuple[int, Row]]


class Claim(NamedTuple):
    """A row of the table of claims; `ours` has a cell per device, by its label."""

    title: str
    where: str
    reported: str
    recomputed: str
    ours: dict[str, str]
    verdict: str


def encoded(devices: Sequence[DeviceResults], claims: Sequence[Claim], reading: Reading) -> str:
    """The data as JSON that is safe inside <script>. Times are in seconds.

    The latest environments of all devices come before earlier environments.
    """
    devices = sorted(devices, key=lambda device: not device.latest)
    rows = [(number, row) for number, device in enumerate(devices) for row in device.rows]
    content: Json = {
        "devices": [_device(device) for device in devices],
        "rows": columns([_line(number, row) for number, row in rows]),
        "budget": budget.of(devices, rows),
        "answers": [msgspec.to_builtins(each) for each in answers(devices)],
        "accuracies": _accuracies(rows),
        "profiles": [panel for n, device in enumerate(devices) for panel in _panels(n, device)],
        "terms": _terms(devices),
        "claims": [claim._asdict() for claim in claims],
        "markers": _markers(rows),
        "families": _families(devices),
        "pale": PALE,
        "tallies": reading.tallies,
        "warnings": reading.shown,
    }
    return in_script(content)


def _markers(rows: Numbered) -> Json:
    """The marker of each form that occurs: Plotly's symbol, and the character in the legend."""
    found = forms.in_order({row.case.form for _, row in rows})
    return {form.name: {"symbol": form.marker.symbol, "glyph": form.marker.glyph} for form in found}


def _families(devices: Sequence[DeviceResults]) -> Json:
    """Colour and line style of each family, as in the figures of the report."""
    known = colours.known_families(devices)
    return {
        family: {
            "colour": colours.colour_of(family, known),
            "line": colours.line_of(family, known),
        }
        for family in known
    }


def _device(device: DeviceResults) -> Json:
    environment = device.environment
    known = facts({**environment.chip.facts, **environment.versions}, environment.variables)
    return {
        "label": device.label,
        "latest": device.latest,
        "about": known or "unknown",
        "environment": environment.environment_id,
        "notes": device.notes,
    }


def _line(device: int, row: Row) -> Json:
    """One case. `estimate`: the latency; `mean`, `std` and `median`: of all iterations."""
    case, summary, cost, interval = row.case, row.summary, row.cost or Cost(), row.interval
    median = summary.median if summary else None
    return {
        "device": device,
        "case": case.name,
        "name": naming.network_title(case.model, case.form, case.label),
        "family": naming.family(case).name,
        "form": case.form,
        "backend": case.backend,
        "precision": case.precision,
        "batch": case.batch,
        "resolution": case.resolution,
        "size": naming.family(case).size,
        "threads": case.threads,
        "memory": naming.allocation(case) or DEFAULT,
        "mean": summary.mean if summary else None,
        "std": summary.std if summary else None,
        "median": median,
        **row.tail._asdict(),
        "estimate": row.typical_s,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "samples": summary.samples if summary else None,
        "calls_per_sample": max((r.calls_per_sample for r in row.rounds), default=None),
        "processes": summary.processes if summary else None,
        "throughput": row.throughput,
        "rank": ranks.text(row.rank) or None,
        "params": cost.params,
        "macs": cost.macs,
        "verdict": row.verdict.level if row.verdict else None,
        "doubts": "\n".join(_doubts(row)) or None,
        "stage": row.failure.stage if row.failure else None,
        "failure": f"{row.failure.error}: {row.failure.message}" if row.failure else None,
    }


def _doubts(row: Row) -> dict[str, None]:
    """The reasons and warnings of a row, each once, in order."""
    seen = [reason.text for reason in row.verdict.reasons] if row.verdict else []
    unfinished = ["unfinished: the run ended before the last round"] if row.unfinished else []
    return dict.fromkeys([*seen, *unfinished, *row.warnings])


def _accuracies(rows: Numbered) -> list[Json]:
    """Per data set, so that two are never mixed: top-1 of every row, and its source.

    `more`: the weights were trained on more images than ImageNet-1K.
    """
    names = dict.fromkeys(each.dataset for _, row in rows for each in row.accuracies)
    found: list[Json] = []
    for dataset in sorted(names, key=lambda each: (each != IMAGENET, each)):
        known = [row.accuracy(dataset) for _, row in rows]
        sources = [", ".join(filter(None, (a.source, a.detail))) if a else None for a in known]
        found.append(
            {
                "name": DATASETS.get(dataset, dataset),
                "top1": column([each.top1 if each else None for each in known]),
                "source": column(sources),
                "more": column([bool(each and each.more_data) for each in known]),
            }
        )
    return found


def _panels(number: int, device: DeviceResults) -> Iterator[Json]:
    """A panel of bars per batch of a device, with the cases whose profile failed."""
    by_batch: dict[int, list[ProfileHistory]] = {}
    for known in device.profiles:
        first = known.rounds[0] if known.rounds else known.failure
        if first and not first.case.trains:
            by_batch.setdefault(first.case.batch, []).append(known)
    for batch, several in sorted(by_batch.items()):
        profiles = [known.profile for known in several if known.rounds]
        failures = [known.failure for known in several if known.failure]
        yield {
            "device": number,
            "batch": batch,
            "bars": [
                {
                    "name": title,
                    "latency": rounded(profile.waterfall.plain_s),
                    "segments": [
                        (term, rounded(left), rounded(width))
                        for term, left, width in segments(profile)
                    ],
                    "doubts": summary.doubts(profile),
                }
                for profile, title in zip(profiles, titles(profiles), strict=True)
            ],
            "failures": [
                f"{naming.selector(each.case, batch=True)} failed with {each.error}: {each.message}"
                for each in failures
            ],
            "notes": [
                f"{naming.selector(known.rounds[0].case, batch=True)}: {known.note}"
                for known in several
                if known.note
            ],
        }


def _terms(devices: Sequence[DeviceResults]) -> list[Json]:
    """The terms that occur, in stacking order, with colour and hatch."""
    every = [known.profile for device in devices for known in device.profiles if known.rounds]
    return [
        {"term": term, "colour": CATEGORY_COLOURS[term], "hatch": HATCHES.get(term, "")[:1]}
        for term in terms(every)
    ]
