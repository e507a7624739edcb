"""Which records are the latest: the one rule of all commands.

Within a file, the order of its lines decides. Across files, the start of the last run decides, then
its `run_id`, and never the order in which the files were named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from bench.records import Environment, Record, of_cases, of_evaluations, of_profiles

Age = tuple[bool, str, str]


def in_order(files: Iterable[Sequence[Record]]) -> list[Sequence[Record]]:
    """The files with the latest at the end; the order of files with one last run is not defined."""
    return sorted(files, key=lambda records: age(records, starts(records)))


def age(records: Sequence[Record], began: dict[str, str]) -> Age:
    """A key that is greater for the later of two files: the start of the last run, its run_id.

    A run that measured a case is later than a run that only profiled; `began` is of `starts`.
    """
    measured = list(of_cases(records))
    every: Sequence[Record] = measured or list(of_profiles(records)) or records
    if not every:
        return (False, "", "")
    run_id = every[-1].run_id
    return (bool(measured), began.get(run_id, ""), run_id)


def starts(records: Sequence[Record]) -> dict[str, str]:
    """The start of each run in a file, by run_id; without runs whose start is not on record."""
    return {each.run_id: each.started_at for each in records if isinstance(each, Environment)}


def environment_ids(records: Sequence[Record]) -> list[str]:
    """The environments of one device, the one measured last at the end.

    Environments in which cases were only evaluated or profiled come first.
    """
    every = [*of_evaluations(records), *of_profiles(records), *of_cases(records)]
    last = {record.environment_id: place for place, record in enumerate(every)}
    return sorted(last, key=last.__getitem__)


def disagreements(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """The starts of neighbouring runs of one file, where the later line has the earlier date."""
    began = starts(records)
    runs = dict.fromkeys(each.run_id for each in records if each.run_id in began)
    dates = [began[run_id] for run_id in runs if began[run_id]]
    yield from ((earlier, later) for earlier, later in pairwise(dates) if later < earlier)
