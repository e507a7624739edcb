"""The questions that a report leaves to measurement: what its tables and its claims rest on.

They are the order of neighbouring rows in each table, the order of the forms of each network, and
the pairs of networks that a claim about this kind of device compares. Cases have no label.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from bench.analysis.rows import Row
from bench.analysis.settle import Question
from bench.models import naming
from bench.records import Case
from bench.report.claims import catalogue
from bench.report.claims.evidence import Evidence
from bench.report.claims.quantities import Ratio
from bench.report.devices import DeviceResults, by_allocation
from bench.report.tables.layouts import LAYOUTS, shown_of

Asked = tuple[Case, Case, str]


def asked(device: DeviceResults) -> list[Asked]:
    """The pairs of cases that a report on the rows of a device asks about, and what asks it.

    Cases of different allocators or huge pages stand in different columns, so none of them asks.
    """
    askers = (_of_tables, _of_results, _of_forms, _of_backends, _of_claims)
    return [pair for part in by_allocation([device]) for ask in askers for pair in ask(part)]


def merged(every: Iterable[Asked]) -> list[Question]:
    """A question for each pair, with all that ask it; a pair in both orders is one question."""
    found: dict[frozenset[Case], Question] = {}
    for base, candidate, asked_by in every:
        pair = [_plain(each) for each in (base, candidate)]
        known = found.setdefault(frozenset(pair), Question(pair[0], pair[1]))
        names = tuple(dict.fromkeys((*known.asked_by, asked_by)))
        found[known.cases] = known._replace(asked_by=names)
    return list(found.values())


def _of_tables(device: DeviceResults) -> Iterator[Asked]:
    """Neighbours by latency in each table of the paper."""
    for layout in LAYOUTS:
        if shown := shown_of(device, layout):
            yield from _neighbours(list(shown.rows.values()), f"Table {layout.number}")


def _of_results(device: DeviceResults) -> Iterator[Asked]:
    """Neighbours by latency among all rows of one setting."""
    yield from _neighbours(device.usual, "results.md")


def _neighbours(rows: Sequence[Row], table: str) -> Iterator[Asked]:
    for several in _by_setting(rows):
        ordered = sorted(several, key=lambda row: row.typical_s or 0.0)
        for base, candidate in itertools.pairwise(ordered):
            yield base.case, candidate.case, f"neighbours in {table}"


def _of_forms(device: DeviceResults) -> Iterator[Asked]:
    """All pairs of forms of one network."""
    for several in _by_setting(device.usual):
        for base, candidate in itertools.combinations(several, 2):
            if base.case.model == candidate.case.model:
                yield base.case, candidate.case, f"forms of {naming.without_hash(base.case.model)}"


def _of_backends(device: DeviceResults) -> Iterator[Asked]:
    """Neighbours by latency among the backends of one network, as `runtimes.md` shows them."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in device.usual:
        if row.summary:
            of_network = (row.case.model, row.case.form, row.case.threads, *row.case.ranked_with)
            found.setdefault(of_network, []).append(row)
    for several in found.values():
        ordered = sorted(several, key=lambda row: row.typical_s or 0.0)
        for base, candidate in itertools.pairwise(ordered):
            yield base.case, candidate.case, f"backends of {naming.name(base.case)}"


def _by_setting(rows: Sequence[Row]) -> list[list[Row]]:
    """The measured rows of each setting; a failed row answers nothing."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.summary:
            found.setdefault(row.case.setting, []).append(row)
    return list(found.values())


def _of_claims(device: DeviceResults) -> Iterator[Asked]:
    """The pairs that claims about this kind of device compare, as far as both are on record."""
    evidence = Evidence.of(device)
    for claim in catalogue.claims():
        if claim.kind not in (device.kind, "any"):
            continue
        for each in (quantity for quantity in claim.quantities if isinstance(quantity, Ratio)):
            rows = [evidence.rows.get(place) for place in (each.fast, each.slow)]
            cases = [row.case for row in rows if row and row.summary]
            if len(cases) == 2 and cases[0].group == cases[1].group:
                yield cases[0], cases[1], f"claim {claim.number}"


def _plain(case: Case) -> Case:
    return msgspec.structs.replace(case, label="")
