"""Reports: pure functions from records to tables and pictures, and `write`, which is not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import store
from bench.errors import UsageError
from bench.records import Record
from bench.report import figures, rows, tables

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
        try:
            written += _write_pages(target, render(records))
        except OSError as error:
            raise UsageError(
                f"cannot write to {target}: {error.strerror}", "Choose another folder with --to."
            ) from error
    return written, warnings


def render(records: Sequence[Record]) -> dict[str, bytes]:
    """The report of one device: file name to content, the same bytes for the same records.

    `results` holds every environment on record; Table 6 and Figure 1 the one measured last.
    """
    everything = rows.of(records)
    latest = [row for row in everything if row.environment == everything[-1].environment]
    return {
        "results.md": tables.results_markdown(everything).encode(),
        "results.csv": tables.results_csv(everything).encode(),
        "table6.md": tables.table6_markdown(latest).encode(),
        "table6.csv": tables.table6_csv(latest).encode(),
        "figure1.png": figures.figure1(latest),
    }


def _read_all(sources: Sequence[Path]) -> tuple[dict[Path, list[Record]], list[str]]:
    """Records by device folder; folders of one name in several sources are one device."""
    by_slug: dict[str, Path] = {}
    found: dict[Path, list[Record]] = {}
    warnings: list[str] = []
    for source in sources:
        if not source.is_dir():
            reason = "is a file, not a folder" if source.exists() else "does not exist"
            raise UsageError(
                f"{source} {reason}", "Name the folder that `bench run --out` wrote to."
            )
        for path in sorted({*source.glob(f"*/{store.FILE_NAME}"), *source.glob(store.FILE_NAME)}):
            records, warned = store.read(path)
            folder = by_slug.setdefault(path.resolve().parent.name, path.parent)
            warnings += warned
            if rows.of(records):
                found.setdefault(folder, []).extend(records)
    if not found:
        where = ", ".join(str(source) for source in sources)
        raise UsageError(
            f"no results to report in {where}",
            "Measure first: python -m bench run --suite table6 --device cpu --preset quick",
        )
    return found, warnings


def _write_pages(folder: Path, pages: Mapping[str, bytes]) -> list[Path]:
    """Each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pages.items():
        partial = folder / f".{name}.partial"
        try:
            partial.write_bytes(content)
            os.replace(partial, folder / name)
        finally:
            partial.unlink(missing_ok=True)
    return [folder / name for name in pages]
