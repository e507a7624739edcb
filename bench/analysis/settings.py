"""Settings of a process that contradict its case, and rounds that differ in their settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.analysis.disturbance import undisturbed
from bench.analysis.reasons import Amount, Observation, Reason, count
from bench.devices import precision
from bench.records import Conditions, Measurement
from bench.records.fields import Setting
from bench.text import printable

FEWEST_USED = 0.8  # of the threads of the case

Key = tuple[object, ...]


def setting_reasons(record: Measurement, usable_cpus: int | None) -> Iterator[Reason]:
    """Reasons for each setting that differs from what the case asks for, and for few threads.

    `usable_cpus` are those of the run; where the case has more threads, another reason says so.
    """
    case, seen = record.case, record.conditions or Conditions()
    for name, wanted in _wanted(record).items():
        found = record.settings.get(name, wanted)
        if found != wanted:
            shown = "unreadable" if found is None else printable(str(found))
            values = (name, shown, str(wanted))
            yield Reason(Observation.SETTING_DIFFERS, "SUSPECT", values)
    if seen.threads_used is None:
        return  # the speed of the device does not depend on threads, or nobody counted them
    if not _uses_its_threads(record):
        used = Amount(seen.threads_used, f"{seen.threads_used:.1f}")
        yield Reason(Observation.FEWER_THREADS, "SUSPECT", (used, count(case.threads)))
    if (cpus := _cpus(record)) < min(case.threads, usable_cpus or 0):
        yield Reason(Observation.FEWER_CPUS, "SUSPECT", (count(cpus), count(case.threads)))


def alike(rounds: Sequence[Measurement]) -> list[Measurement]:
    """The rounds that may be pooled: the largest part with equal settings, the newest of several.

    Settings count that every round has on record. Rounds that another network disturbed are left
    out first, unless there are no others.
    """
    rounds = undisturbed(rounds)
    keys = _keys(rounds)
    if len(set(keys)) < 2:
        return list(rounds)
    places = {key: place for place, key in enumerate(keys)}
    sizes = Counter(keys)
    chosen = max(places, key=lambda key: (sizes[key], places[key]), default=None)
    return [record for record, key in zip(rounds, keys, strict=True) if key == chosen]


def apart(rounds: Sequence[Measurement]) -> list[Reason]:
    """A reason that names the settings of the rounds that `alike` leaves out for them; else []."""
    rounds = undisturbed(rounds)
    kept, keys = alike(rounds), _keys(rounds)
    if len(kept) == len(rounds):
        return []
    names = [*_common(rounds), "CPUs", "threads that computed"]
    columns = zip(names, zip(*keys, strict=True), strict=True)
    differing = ", ".join(name for name, values in columns if len(set(values)) > 1)
    reason = Reason(Observation.ROUNDS_APART, "SUSPECT", (printable(differing),))
    return [reason._replace(in_rounds=len(rounds) - len(kept), of_rounds=len(rounds))]


def _wanted(record: Measurement) -> dict[str, Setting]:
    """The settings that the case asks for, by their names on record."""
    case = record.case
    return {
        "threads": case.threads,
        "runtime_threads": case.threads,
        "mkldnn": True,
        "allocator": case.allocator,
        "huge_pages": case.huge_pages,
        **precision.wanted_switches(case.precision),
    }


def _uses_its_threads(record: Measurement) -> bool:
    """Whether as many threads computed as the case has; True where nobody counted."""
    used = record.conditions.threads_used if record.conditions else None
    return used is None or used >= FEWEST_USED * record.case.threads


def _cpus(record: Measurement) -> int:
    """The CPUs for the threads of the case, at most one each; one each where nobody counted."""
    threads, seen = record.case.threads, record.conditions
    known = seen.cpus if seen and seen.threads_used is not None else None
    return min(known or threads, threads)


def _common(rounds: Sequence[Measurement]) -> list[str]:
    """The names of the settings that all rounds have, in order."""
    first, *others = [record.settings.keys() for record in rounds]
    return sorted(set(first).intersection(*others))


def _keys(rounds: Sequence[Measurement]) -> list[Key]:
    """What must be equal in rounds that are pooled."""
    if len(rounds) < 2:
        return [()] * len(rounds)
    names = _common(rounds)
    return [
        (
            *(record.settings[name] for name in names),
            _cpus(record),
            _uses_its_threads(record),
        )
        for record in rounds
    ]
