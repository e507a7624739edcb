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
from bench.report.figures import distributions, figure1, figure5, roofline, speedups
from bench.report.gather import gather
from bench.report.tables import paper_tables, profiles, results
from bench.storage.pages import left_over, write_pages

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
    warnings += [f"{path} is of an earlier report: remove it" for path in left_over(written)]
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
    pages |= _shared_figures([last])
    for batch in sorted({row.case.batch for row in last.rows if row.summary}):
        name = "distributions" if batch == 1 else f"distributions-{batch}"
        pages |= _named(name, distributions.distributions(last, batch))
    return pages | _of_profiles(last)


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
    if len(latest) == 1:  # the same pictures: they are not drawn twice
        (own,) = beside.values()
        pages |= {name: own[name] for name in own if name.startswith(("figure1.", "speedups."))}
    else:
        pages |= _shared_figures(latest)
    pages |= claims.render(judged, latest)
    pages["report.html"] = page.render(every, claims.lines(judged, latest))
    pages["report.md"] = index.render(every, pages, beside, warnings)
    return pages


def _shared_figures(latest: Sequence[DeviceResults]) -> Pages:
    """Those with a panel for each device."""
    return {
        **_named("figure1", figure1.figure1(latest)),
        **_named("speedups", speedups.speedups(latest)),
    }


def _of_profiles(device: DeviceResults) -> Pages:
    """Where the time goes; pictures of the smallest batch."""
    found = [known.profile for known in device.profiles if known.rounds]
    failures = [known.failure for known in device.profiles if known.failure]
    if not found and not failures:
        return {}
    pages = {"profile.md": profiles.page(found, device.peaks, failures).encode()}
    if not found:
        return pages
    batch = min(profile.case.batch for profile in found)
    shown = [profile for profile in found if profile.case.batch == batch]
    pages |= _named("figure5", figure5.figure5(shown, device.label))
    last, others = shown[-roofline.PANELS :], shown[: -roofline.PANELS]
    if reached := device.peaks.get(last[0].case_id):  # the paper's own networks come last
        pages |= _named("roofline", roofline.roofline([*last, *others], reached, device.label))
    return pages


def _named(name: str, picture: Mapping[str, bytes]) -> Pages:
    return {f"{name}.{kind}": content for kind, content in picture.items()}
