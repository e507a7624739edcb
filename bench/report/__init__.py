"""Reports: pure functions from records to tables and pictures, and `write`, which is not.

Of each device: all its cases, the paper's tables and figures. Of all of them together: the same
with a column group or a panel for each, the paper's claims, and a page to look around in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.paper import accuracy
from bench.paper.accuracy import Given
from bench.report import claims, devices, index, page
from bench.report.devices import DeviceResults
from bench.report.figures.catalogue import FIGURES, Figure
from bench.report.gather import gather
from bench.report.tables import paper_tables, profiles, results
from bench.storage.pages import write_pages

__all__ = ["joint", "of_device", "write"]

Pages = dict[str, bytes]


def write(
    sources: Sequence[Path], to: Path | None = None, given: Sequence[Given] = ()
) -> tuple[list[Path], list[str]]:
    """Write the report of all records below `sources`; returns the files and warnings.

    Each device's pages go beside its records, what joins devices into the source; with `to` all
    goes there, devices into `to/<device-slug>/`. `given` are accuracies that the user knows.

    Raises UsageError where there are no records, where a folder cannot be read or written, or
    where several sources have no folder `to` for what joins them.
    """
    several = len(sources) > 1 and len({os.path.realpath(source) for source in sources}) > 1
    if several and to is None:
        raise UsageError(
            "several folders of results: where is their report to go?", "Add --to DIR."
        )
    found, warnings = gather(sources)
    home = to or sources[0]
    every = devices.told_apart(
        [
            each
            for folder, records in found.items()
            for each in devices.of(folder.name, records, given)
        ]
    )
    written: list[Path] = []
    pages: dict[str, Pages] = {}
    for folder in found:
        target = folder if to is None else to / folder.name
        way = os.path.relpath(target.resolve(), home.resolve())
        pages[way] = of_device([each for each in every if each.slug == folder.name])
        written += write_pages(target, pages[way])
    warnings += _unmatched(given, every)
    written += write_pages(home, joint(every, pages, warnings))
    warnings += [f"{each.label}: {note}" for each in every for note in each.notes]
    warnings += [f"{path} is of an earlier report: remove it" for path in index.left_over(written)]
    return list(dict.fromkeys(written)), warnings


def _unmatched(given: Sequence[Given], every: Sequence[DeviceResults]) -> list[str]:
    """What the user knows the accuracy of, and nobody has measured at that resolution."""
    measured = {(row.case.model, row.case.resolution) for each in every for row in each.rows}
    return [
        f"no case of {each.model} at {each.accuracy.input_size} pixels, whose top-1 is given"
        for each in accuracy.unmatched(given, measured)
    ]


def of_device(own: Sequence[DeviceResults]) -> Pages:
    """The pages of one device: file name to content, the same bytes for the same records.

    `own` are its environments, the latest last. `results` holds all of them, the rest is of the
    latest.
    """
    last = own[-1]
    rows = [row for each in own for row in each.rows]
    pages: Pages = {}
    if rows:
        pages["results.md"] = results.to_markdown(rows).encode()
        pages["results.csv"] = results.to_csv(rows).encode()
    pages |= paper_tables.render([last], only=paper_tables.measured_on(last))
    for figure in FIGURES:
        pages |= figure.draw([last])
    return pages | _profile_page(last)


def joint(
    every: Sequence[DeviceResults], beside: Mapping[str, Pages], warnings: Sequence[str]
) -> Pages:
    """The pages that join devices, each in its latest environment.

    `beside` are the pages of each device by the way to its folder; `warnings` say what could not
    be read.
    """
    latest = [each for each in every if each.latest]
    judged = claims.judge(latest)
    pages = paper_tables.render(latest)
    for figure in FIGURES:
        if figure.joins_devices:
            pages |= figure.draw(latest) if len(latest) > 1 else _drawn(figure, beside)
    pages |= claims.render(judged, latest)
    pages["report.html"] = page.render(every, claims.lines(judged, latest))
    pages["report.md"] = index.render(every, pages, beside, warnings)
    return pages


def _drawn(figure: Figure, beside: Mapping[str, Pages]) -> Pages:
    """The files of a figure that was drawn for the one device already: the same picture."""
    (own,) = beside.values()
    return {name: content for name, content in own.items() if name.startswith(f"{figure.name}.")}


def _profile_page(device: DeviceResults) -> Pages:
    """Where the time goes, in numbers."""
    found = [known.profile for known in device.profiles if known.rounds]
    failures = [known.failure for known in device.profiles if known.failure]
    if not found and not failures:
        return {}
    return {"profile.md": profiles.page(found, device.peaks, failures).encode()}
