"""Reading the records of several folders of results, device by device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.analysis.recorded import MEASURE_FIRST
from bench.errors import UsageError
from bench.records import Record, of_cases, of_profiles
from bench.storage.reader import read, results_files


def gather(sources: Sequence[Path]) -> tuple[dict[Path, list[Record]], list[str]]:
    """Records by device folder, and warnings; folders of the same name are one device.

    A line that is not a record, or has another schema, is skipped with a warning. Raises
    UsageError if no record remains or a folder cannot be read.
    """
    found: dict[Path, list[Record]] = {}
    by_slug: dict[str, Path] = {}
    warnings: list[str] = []
    empty: list[str] = []
    paths = {path.resolve(): path for source in sources for path in results_files(source)}
    for path in paths.values():
        records, unread = read(path)
        warnings += map(str, unread)
        if any(of_cases(records)) or any(of_profiles(records)):
            home = path.parent.resolve()  # the folder of the link, if the file is a link
            folder = by_slug.setdefault(home.name, home)
            found.setdefault(folder, []).extend(records)
        else:
            empty.append(f"{path} has no measurement yet: skipped")
    if not found:
        where = ", ".join(str(source) for source in sources)
        left_out = f"; {len(warnings)} lines left out, the first: {warnings[0]}" if warnings else ""
        raise UsageError(f"no results to report in {where}{left_out}", MEASURE_FIRST)
    return found, warnings + empty
