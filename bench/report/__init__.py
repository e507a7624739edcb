"""Reports: pure functions from records to tables and pictures, and `write`, which is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import store
from bench.errors import UsageError
from bench.profiling.recorded import chip_name, latest, peaks_of
from bench.records import Record, of_cases
from bench.report import figure5, figures, profiles, results, roofline, rows, tables
from bench.report.pages import write_pages

__all__ = ["render", "write"]


def write(sources: Sequence[Path], to: Path | None = None) -> tuple[list[Path], list[str]]:
    """Write tables and figures of all records below `sources`; returns the files and warnings.

    Each device's go beside its records, or with `to` into `to/<device-slug>/`.

    Raises UsageError where there are no records, or a folder cannot be read or written.
    """
    if to is None and len(sources) > 1:
        raise UsageError(
            "several folders of results: where is their report to go?", "Add --to DIR."
        )
    found, warnings = _read_all(sources)
    written: list[Path] = []
    for folder, records in found.items():
        target = folder if to is None else to / folder.name
        written += write_pages(target, render(records))
    return written, warnings


def render(records: Sequence[Record]) -> dict[str, bytes]:
    """The report of one device: file name to content, the same bytes for the same records.

    `results` holds every environment on record; Table 6, Figure 1 and the profiles the one that
    was measured, or profiled, last.
    """
    return {**_of_measurements(records), **_of_profiles(records)}


def _of_measurements(records: Sequence[Record]) -> dict[str, bytes]:
    everything = rows.of(records)
    if not everything:
        return {}
    *_, last = of_cases(records)
    latest = [r for r in everything if r.environment.environment_id == last.environment_id]
    return {
        "results.md": results.to_markdown(everything).encode(),
        "results.csv": results.to_csv(everything).encode(),
        "table6.md": tables.table6_markdown(latest).encode(),
        "table6.csv": tables.table6_csv(latest).encode(),
        "figure1.png": figures.figure1(latest),
    }


def _of_profiles(records: Sequence[Record]) -> dict[str, bytes]:
    """Where the time goes, of the environment profiled last; pictures of the smallest batch."""
    known = latest(records)
    if not known:
        return {}
    found = [each.profile for each in known if each.rounds]
    failures = [each.failure for each in known if each.failure]
    peaks = {profile.case_id: peaks_of(records, profile) for profile in found}
    pages = {"profile.md": profiles.page(found, peaks, failures).encode()}
    if not found:
        return pages
    chip = chip_name(records, found[0])
    batch = min(profile.case.batch for profile in found)
    shown = [profile for profile in found if profile.case.batch == batch]
    for kind in ("png", "svg"):
        pages[f"figure5.{kind}"] = figure5.figure5(shown, chip, kind)
        last, others = shown[-roofline.PANELS :], shown[: -roofline.PANELS]
        if reached := peaks[last[0].case_id]:  # the paper's own networks are its tables' last rows
            pages[f"roofline.{kind}"] = roofline.roofline([*last, *others], reached, chip, kind)
    return pages


def _read_all(sources: Sequence[Path]) -> tuple[dict[Path, list[Record]], list[str]]:
    """Records by device folder; folders of one name in several sources are one device."""
    found: dict[Path, list[Record]] = {}
    by_slug: dict[str, Path] = {}
    warnings: list[str] = []
    paths = {path.resolve(): path for source in sources for path in store.files_below(source)}
    for resolved, path in paths.items():
        records, warned = store.read(path)
        warnings += warned
        if any(of_cases(records)) or latest(records):
            folder = by_slug.setdefault(resolved.parent.name, resolved.parent)
            found.setdefault(folder, []).extend(records)
    if not found:
        where = ", ".join(str(source) for source in sources)
        left_out = f"; {len(warnings)} lines left out, the first: {warnings[0]}" if warnings else ""
        raise UsageError(
            f"no results to report in {where}{left_out}",
            "Measure first: python -m bench run --suite table6 --device cpu --preset quick",
        )
    return found, warnings
