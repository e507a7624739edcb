"""Reading the records of several folders of results, device by device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis.recorded import MEASURE_FIRST
from bench.errors import UsageError
from bench.models import labels
from bench.models.labels import Label
from bench.records import Record, of_cases, of_profiles
from bench.storage.reader import read, results_files


def gather(
    sources: Sequence[Path], texts: Sequence[str] = (), given: Sequence[Label] = ()
) -> tuple[dict[Path, list[Record]], list[str]]:
    """Records by device folder, and warnings; folders of the same name are one device.

    The cases have the labels of `texts` (from --label), else of `given`, else of the latest run. A
    line that is not a record, or has another schema, is skipped with a warning. Raises UsageError
    if no record remains, if a folder cannot be read, or for a wrong label.
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
    return _labelled(found, texts, given), warnings + empty


def _labelled(
    found: Mapping[Path, list[Record]], texts: Sequence[str], given: Sequence[Label]
) -> dict[Path, list[Record]]:
    """The same records with labels; a network has the same label on every device."""
    everything = [record for records in found.values() for record in records]
    models = [each.case.model for each in [*of_cases(everything), *of_profiles(everything)]]
    recorded = labels.on_record(everything)
    known = labels.stamped(everything, labels.settled(recorded, models))
    cases = list(dict.fromkeys(each.case for each in [*of_cases(known), *of_profiles(known)]))
    chosen = labels.merged(recorded, labels.resolve(given, cases), labels.parse(texts, cases))
    unique = labels.settled(chosen, models)
    return {folder: labels.stamped(records, unique) for folder, records in found.items()}
