"""Reading what several folders of results hold, device by device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.analysis.recorded import MEASURE_FIRST
from bench.errors import UsageError
from bench.records import Record, of_cases, of_profiles
from bench.storage.reader import files_below, read


def gather(sources: Sequence[Path]) -> tuple[dict[Path, list[Record]], list[str]]:
    """Records by device folder; folders of one name in several sources are one device.

    Lines that are no records, or of another schema, are left out, and the warnings say so. Raises
    UsageError where nothing is left, or where a folder cannot be read.
    """
    found: dict[Path, list[Record]] = {}
    by_slug: dict[str, Path] = {}
    warnings: list[str] = []
    empty: list[str] = []
    paths = {path.resolve(): path for source in sources for path in files_below(source)}
    for path in paths.values():
        records, unread = read(path)
        warnings += map(str, unread)
        if any(of_cases(records)) or any(of_profiles(records)):
            home = path.parent.resolve()  # of a link to results kept elsewhere, the link's own
            folder = by_slug.setdefault(home.name, home)
            found.setdefault(folder, []).extend(records)
        else:
            empty.append(f"{path} holds no measurement yet: left out")
    if not found:
        where = ", ".join(str(source) for source in sources)
        left_out = f"; {len(warnings)} lines left out, the first: {warnings[0]}" if warnings else ""
        raise UsageError(f"no results to report in {where}{left_out}", MEASURE_FIRST)
    return found, warnings + empty
