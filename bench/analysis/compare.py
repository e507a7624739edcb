"""What `bench compare` compares: two cases of one folder, or the same cases of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.analysis import ratio
from bench.analysis.ratio import Comparison
from bench.analysis.recorded import Recorded, latest, nothing_called, unhashed
from bench.analysis.stats import Finding
from bench.errors import UsageError
from bench.records import Case, Environment, Failure, Measurement
from bench.storage.history import History
from bench.text import facts

VOLATILE = ("load_1min",)
ALTERNATE = (
    "Cases that take turns in one run compare best: --models base/net.py:net,head/net.py:net"
)


class Lost(msgspec.Struct, frozen=True):
    """A case that one side has and the other has not, or that failed there."""

    case: Case
    side: str
    why: str


class Comparisons(msgspec.Struct, frozen=True):
    """All that was compared on one device. `differences` are those of the two environments."""

    chip: str
    base: str
    candidate: str
    differences: list[str]
    compared: list[Comparison]
    lost: list[Lost] = []
    warnings: list[str] = []


def two_cases(folder: Path, base: str, candidate: str, margin: float) -> list[Comparisons]:
    """Compare cases by name or id, in every setting that both were measured in.

    Raises UsageError where there are none to compare.
    """
    everything = latest(folder)
    found = []
    for recorded in everything:
        pairs, lost = _pairs(recorded, base, candidate)
        compared = [_compare(recorded, mine, recorded, theirs, margin) for mine, theirs in pairs]
        if compared or lost:
            chip = recorded.environment.chip.name
            warnings = recorded.warnings
            found.append(Comparisons(chip, base, candidate, [], compared, lost, warnings))
    if not found:
        for selector in (base, candidate):
            if not any(recorded.matching(selector) for recorded in everything):
                raise nothing_called(selector, folder, everything)
        raise UsageError(
            f"{base} and {candidate} were not measured in the same setting",
            "Measure both with the same --batch, --threads, --resolution and device. " + ALTERNATE,
        )
    return found


def two_runs(base: Path, candidate: Path, margin: float) -> list[Comparisons]:
    """Compare what was measured in both folders, chip by chip.

    Raises UsageError where they have no chip, power mode or case in common.
    """
    if base.resolve() == candidate.resolve():
        raise UsageError(f"{base} and {candidate} are the same folder", "Name two.")
    before = {recorded.environment.chip.slug: recorded for recorded in latest(base)}
    after = {recorded.environment.chip.slug: recorded for recorded in latest(candidate)}
    common = [slug for slug in before if slug in after]
    if not common:
        chips = [
            ", ".join(r.environment.chip.name for r in side.values()) for side in (before, after)
        ]
        raise UsageError(
            f"different devices: {chips[0]} in {base}, {chips[1]} in {candidate}",
            "Only runs of one device compare; `bench report` sets devices side by side.",
        )
    found = [_two_runs(before[slug], after[slug], (base, candidate), margin) for slug in common]
    shared = [set(before[slug].cases) & set(after[slug].cases) for slug in common]
    if not any(shared):
        raise UsageError(
            f"{base} and {candidate} have no case in common", "Run the same suite in both."
        )
    return found


def is_regression(found: Sequence[Comparisons], fail_on: set[str]) -> bool:
    """Whether anything is as `fail_on` says; a case that the candidate lost is slower than any."""
    findings = {each.finding.lower() for group in found for each in group.compared}
    lost = any(each.side == group.candidate for group in found for each in group.lost)
    return bool(findings & fail_on) or (lost and bool(fail_on))


def _two_runs(
    before: Recorded, after: Recorded, folders: tuple[Path, Path], margin: float
) -> Comparisons:
    modes = [_power_modes(recorded) for recorded in (before, after)]
    if all(modes) and modes[0] != modes[1]:
        raise UsageError(
            f"different power modes: {_listed(modes[0])} in {folders[0]}, "
            f"{_listed(modes[1])} in {folders[1]}",
            "Set the same mode, and measure one of them again.",
        )
    base, candidate = map(str, folders)
    compared, lost = [], []
    for case in dict.fromkeys([*before.cases, *after.cases]):
        sides = before.history(case), after.history(case)
        missing = [_lost(case, *each) for each in zip((base, candidate), sides, strict=True)]
        lost += [each for each in missing if each]
        if not any(missing):
            compared.append(_compare(before, case, after, case, margin))
    chip = after.environment.chip.name
    differences = _differences(before.environment, after.environment)
    warnings = [*before.warnings, *after.warnings]
    return Comparisons(chip, base, candidate, differences, compared, lost, warnings)


def _compare(
    before: Recorded, mine: Case, after: Recorded, theirs: Case, margin: float
) -> Comparison:
    rounds = before.history(mine).rounds, after.history(theirs).rounds
    found = ratio.compare(*rounds, usual=after.usual(theirs), margin=margin)
    verdicts = {mine: before.verdict(mine), theirs: after.verdict(theirs)}
    doubts = [
        f"the verdict on {c.name} is {v.text}" for c, v in verdicts.items() if v.level != "VALID"
    ]
    note = "; ".join(text for text in (found.note, *doubts) if text)
    invalid = any(verdict.level == "INVALID" for verdict in verdicts.values())
    finding: Finding = "UNDECIDED" if invalid else found.finding
    return msgspec.structs.replace(found, note=note, finding=finding)


def _pairs(
    recorded: Recorded, base: str, candidate: str
) -> tuple[list[tuple[Case, Case]], list[Lost]]:
    """Cases of both names that differ in what the names say, and in nothing else."""
    mine, theirs = (recorded.matching(selector) for selector in (base, candidate))
    for selector, cases in ((base, mine), (candidate, theirs)):
        forms = dict.fromkeys(unhashed(case.name) for case in cases)
        if len(forms) > 1:
            raise UsageError(f"{selector} has several forms", "Say which: " + ", ".join(forms))
    if set(mine) & set(theirs):
        raise UsageError(f"{base} and {candidate} are the same case", "Name two.")
    by_id = all(
        case.case_id.startswith(selector)
        for selector, cases in ((base, mine), (candidate, theirs))
        for case in cases
    )
    pairs = [(a, b) for a in mine for b in theirs if by_id or _setting(a) == _setting(b)]
    pairs = [(a, b) for a, b in pairs if a.group == b.group]
    found = {a for a, _ in pairs}
    lost = [
        Lost(case, candidate, "was not measured in this setting")
        for case in mine
        if pairs and case not in found
    ]
    lost += [
        each
        for pair in pairs
        for case, side in zip(pair, (base, candidate), strict=True)
        if (each := _lost(case, side, recorded.history(case)))
    ]
    failed = {each.case for each in lost}
    return [pair for pair in pairs if not failed & set(pair)], lost


def _setting(case: Case) -> tuple[object, ...]:
    return (*case.group, case.backend, case.precision, case.threads)


def _lost(case: Case, side: str, history: History) -> Lost | None:
    if history.failure:
        failure: Failure = history.failure
        return Lost(case, side, f"failed at {failure.stage}: {failure.error}: {failure.message}")
    return None if history.rounds else Lost(case, side, "was not measured")


def _power_modes(recorded: Recorded) -> set[str]:
    named = {str(mode) for mode in [recorded.environment.chip.facts.get("power_mode")] if mode}
    rounds = [r for r in recorded.records if isinstance(r, Measurement) and r.conditions]
    return named.union(*(set(r.conditions.power_modes) for r in rounds if r.conditions))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _differences(before: Environment, after: Environment) -> list[str]:
    """What is not the same in two environments, in words."""
    sides = [
        {**each.chip.facts, **each.versions, **each.state, "threads": each.chip.threads}
        for each in (before, after)
    ]
    names = [name for name in dict.fromkeys([*sides[0], *sides[1]]) if name not in VOLATILE]
    return [
        f"{facts({name: sides[0].get(name)}) or f'no {name}'} → "
        f"{facts({name: sides[1].get(name)}) or f'no {name}'}"
        for name in names
        if sides[0].get(name) != sides[1].get(name)
    ]
