"""Reports: pure functions from records to tables and figures, and `write`, which writes files.

Each device gets its cases, the paper's tables and the figures. All devices together get the same
tables and figures with a column group or a panel per device, the paper's claims, and an
interactive HTML page.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.analysis import evaluations
from bench.errors import UsageError
from bench.models import labels
from bench.models.labels import Label
from bench.models.naming import without_hash
from bench.paper import accuracy
from bench.paper.accuracy import Given
from bench.records import Record, of_cases
from bench.report import (
    accuracies,
    claims,
    colours,
    curves,
    devices,
    in_use,
    index,
    page,
    runtimes,
    training,
)
from bench.report.devices import DeviceResults
from bench.report.figures.catalogue import FIGURES, Figure
from bench.report.gather import Reading, gather
from bench.report.tables import paper_tables, profiles, results, results_tex
from bench.storage.pages import write_pages

__all__ = ["joint", "of_device", "write"]

Pages = dict[str, bytes]

LINKED = (
    "{} is a link to another folder: its results are part of this report, but its own pages were "
    "not written, because they could replace the pages of somebody else; name a folder for the "
    "whole report with --to DIR"
)


def write(
    sources: Sequence[Path],
    to: Path | None = None,
    given: Sequence[Given] = (),
    texts: Sequence[str] = (),
    *,
    with_paper: bool = False,
) -> tuple[list[Path], Reading]:
    """Write the report of all records below `sources`; return the files and what to say of it.

    Without `to`, each device's pages go next to its records, and the joint pages go into the
    source. With `to`, the joint pages go into `to` and each device's pages into
    `to/<device-slug>/`. A device folder that is a link gets no pages, but a warning. `given` are
    accuracies and labels from the user's file, and `texts` the values of --label. The paper's
    tables and claims are written where a network of theirs was measured, or `with_paper`.

    Raises UsageError if there are no records, if a folder cannot be written, if there are several
    sources but no `to`, or for a wrong label.
    """
    several = len(sources) > 1 and len({os.path.realpath(source) for source in sources}) > 1
    if several and to is None:
        raise UsageError(
            "several folders of results need one folder for their report", "Add --to DIR."
        )
    found, reading = gather(sources, texts, _labels(given))
    every_record = [record for records in found.values() for record in records]
    measured_here = evaluations.accuracies(every_record)
    given = _by_model(given, found.values())
    home = to or sources[0]
    alone = [
        each
        for folder, records in found.items()
        for each in devices.of(folder.slug, records, [*given, *measured_here])
    ]
    every = colours.shared(devices.with_unique_labels(alone))
    targets = {slug: folder if to is None else to / slug for slug, folder in found}
    linked = [target for target in targets.values() if target.is_symlink()]
    written: list[Path] = []
    pages: dict[str, Pages] = {}
    for slug, target in targets.items():
        if target in linked:
            pages[os.path.relpath(target, home)] = {}
            continue
        way = os.path.relpath(target.resolve(), home.resolve())
        pages[way] = of_device([each for each in every if each.slug == slug])
        written += write_pages(target, pages[way])
    reading.warnings[:0] = map(LINKED.format, linked)
    reading.warnings.extend(_unmatched(given, every))
    written += write_pages(home, joint(every, pages, reading, with_paper=with_paper))
    warnings = [*reading.warnings]
    warnings += [f"{each.label}: {note}" for each in every for note in each.notes]
    stale = index.stale_files(written)
    warnings += [f"{path} is from an earlier report: remove it" for path in stale]
    return list(dict.fromkeys(written)), reading._replace(warnings=warnings)


def _labels(given: Sequence[Given]) -> list[Label]:
    return [Label(each.model, each.label, each.line) for each in given if each.label]


def _by_model(given: Sequence[Given], records: Iterable[Sequence[Record]]) -> list[Given]:
    """The same accuracies; a title or a label that names a model is replaced by its name."""
    cases = list(dict.fromkeys(each.case for several in records for each in of_cases(several)))
    found = []
    for each in given:
        models = labels.models(each.model, cases)
        is_name = any(each.model == without_hash(model) for model in models)
        name = each.model if is_name or not models else models[0]
        found.append(msgspec.structs.replace(each, model=name))
    return found


def _unmatched(given: Sequence[Given], every: Sequence[DeviceResults]) -> list[str]:
    """A warning for each given accuracy whose model was not measured at its resolution."""
    measured = {(row.case.model, row.case.resolution) for each in every for row in each.every}
    return [
        f"a top-1 is given for {each.model} at {each.accuracy.input_size} pixels, "
        "but no such case was measured"
        for each in accuracy.unmatched(given, measured)
    ]


def of_device(own: Sequence[DeviceResults]) -> Pages:
    """The pages of one device, file name to content; the same records give the same bytes.

    `own` are the device's environments, the latest last. `results.md` and `results.csv` show all
    environments; every other page shows the latest.
    """
    last = own[-1]
    rows = [row for each in own for row in each.every]
    pages: Pages = {}
    if rows:
        pages["results.md"] = results.to_markdown(rows).encode()
        pages["results.csv"] = results.to_csv(rows).encode()
    numbers = paper_tables.measured_on(last)
    pages |= paper_tables.render(devices.by_allocation([last]), only=numbers)
    for figure in FIGURES:
        pages |= figure.draw([last])
    pages |= runtimes.render(last) | training.render(last) | accuracies.render([last])
    pages |= curves.render(last) | in_use.render(last)
    return pages | _profile_page(last)


def joint(
    every: Sequence[DeviceResults],
    device_pages: Mapping[str, Pages],
    reading: Reading,
    *,
    with_paper: bool = False,
) -> Pages:
    """The pages that show all devices together, each in its latest environment.

    `device_pages` maps the relative path of a device's folder to its pages, which are none where
    they were not written. `with_paper`: with the paper's tables and claims, whatever was measured.
    """
    latest = [each for each in every if each.latest]
    here = {number for each in latest for number in paper_tables.measured_on(each)}
    numbers = paper_tables.NUMBERS if with_paper else sorted(here)
    parts = devices.by_allocation(latest)
    judged = claims.judge(parts) if numbers or any(each.training for each in latest) else []
    own, *others = device_pages.values()
    pages = results_tex.render(latest) | paper_tables.render(parts, only=numbers)
    for figure in FIGURES:
        if figure.joins_devices:
            pages |= figure.draw(latest) if others or not own else _drawn(figure, own)
    pages |= claims.render(judged, parts) if judged else {}
    pages |= accuracies.render(latest)
    pages["report.html"] = page.render(every, claims.lines(judged, parts), reading)
    left_out = [number for number in paper_tables.NUMBERS if number not in numbers]
    pages["report.md"] = index.render(every, pages, device_pages, reading, left_out)
    return pages


def _drawn(figure: Figure, own: Pages) -> Pages:
    """The figure's files from the only device's pages; drawing it again gives the same picture."""
    return {
        name: content
        for name, content in own.items()
        if name.startswith((f"{figure.name}.", f"{figure.name}-"))
    }


def _profile_page(device: DeviceResults) -> Pages:
    """`profile.md`, or nothing if the device was not profiled."""
    found = [known.profile for known in device.profiles if known.rounds]
    failures = [known.failure for known in device.profiles if known.failure]
    if not found and not failures:
        return {}
    notes = {each.case_id: known.note for known in device.profiles for each in known.rounds}
    return {"profile.md": profiles.page(found, device.peaks, failures, notes).encode()}
