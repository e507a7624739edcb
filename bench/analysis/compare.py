"""`bench compare`: compare two cases in one folder, or the same cases in two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.analysis import ratio
from bench.analysis.ratio import Comparison
from bench.analysis.reasons import Doubt
from bench.analysis.recorded import Recorded, latest, no_such_case, relabelled, unreadable_in
from bench.analysis.verdict import Verdict
from bench.errors import UsageError
from bench.models import naming
from bench.models.naming import without_hash
from bench.records import Case, Environment, Failure, Measurement
from bench.storage.history import History
from bench.text import facts

VOLATILE = ("load_1min",)
MAY_DIFFER = ("backend", "precision", "allocator", "huge_pages", "scenario")
ALTERNATE = (
    "The comparison is most precise when both take turns in one run: "
    "--models base/net.py:net,head/net.py:net"
)


class MissingCase(msgspec.Struct, frozen=True):
    """A case that `side` did not measure or that failed there; `why` is the reason as text."""

    case: Case
    side: str
    why: str


class Comparisons(msgspec.Struct, frozen=True):
    """All comparisons on one device.

    `base` and `candidate` are the selectors or folders. `differences` lists what differs between
    the two environments. `lost` lists the cases that only one side measured. `warnings` names the
    lines of the results that could not be read, and pairs of cases that ran the same code.
    `unreadable` names other devices in the folders that could not be read. `notes` names pairs of
    cases whose networks have the same structure.
    """

    chip: str
    base: str
    candidate: str
    differences: list[str]
    compared: list[Comparison]
    lost: list[MissingCase] = []
    warnings: list[str] = []
    unreadable: list[str] = []
    notes: list[str] = []


def two_cases(folder: Path, base: str, candidate: str, margin: float) -> list[Comparisons]:
    """Compare two cases, given by name or id, in every setting in which both were measured.

    `margin` is the smallest relevant difference, as a share. Raises UsageError when no pair of
    cases can be compared.
    """
    everything = latest(folder)
    found = []
    for recorded in everything:
        pairs, lost = pairs_of(recorded, base, candidate)
        compared = [_compare(recorded, mine, recorded, theirs, margin) for mine, theirs in pairs]
        if compared or lost:
            chip = recorded.environment.chip.name
            same, alike = _same_code(recorded, pairs)
            warnings = [*recorded.warnings, *same]
            found.append(
                Comparisons(
                    chip,
                    base,
                    candidate,
                    [],
                    compared,
                    lost,
                    warnings,
                    recorded.unreadable,
                    alike,
                )
            )
    if not found:
        for selector in (base, candidate):
            if not any(recorded.matching(selector) for recorded in everything):
                raise no_such_case(selector, folder, everything)
        message = f"{base} and {candidate} were not measured in the same setting"
        raise UsageError(
            "; ".join([message, *unreadable_in(everything)]),
            "Measure both with the same --batch, --threads, --resolution and device. " + ALTERNATE,
        )
    return found


def two_runs(base: Path, candidate: Path, margin: float) -> list[Comparisons]:
    """Compare the cases that both folders measured, for each chip.

    Raises UsageError when the folders have no chip, power mode or case in common.
    """
    if base.resolve() == candidate.resolve():
        raise UsageError(
            f"{base} and {candidate} are the same folder", "Name two different folders."
        )
    before, after = _by_slug(base, candidate)
    common = [slug for slug in before if slug in after]
    if not common:
        chips = [
            ", ".join(r.environment.chip.name for r in side.values()) for side in (before, after)
        ]
        message = f"different devices: {chips[0]} in {base}, {chips[1]} in {candidate}"
        raise UsageError(
            "; ".join([message, *unreadable_in([*before.values(), *after.values()])]),
            "Compare runs of the same device; `bench report` shows several devices side by side.",
        )
    found = [_two_runs(before[slug], after[slug], (base, candidate), margin) for slug in common]
    shared = [set(before[slug].cases) & set(after[slug].cases) for slug in common]
    if not any(shared):
        message = f"{base} and {candidate} have no case in common"
        everything = [*before.values(), *after.values()]
        raise UsageError(
            "; ".join([message, *unreadable_in(everything)]), "Run the same suite for both folders."
        )
    return found


def _by_slug(base: Path, candidate: Path) -> list[dict[str, Recorded]]:
    """The records of both folders by device, with the same labels: a label is part of a case."""
    first, second = latest(base), latest(candidate)
    both = [*first, *second]
    labels = {case.model: case.label for each in both for case in each.cases if case.label}
    both = relabelled(both, labels)
    return [
        {each.environment.chip.slug: each for each in side}
        for side in (both[: len(first)], both[len(first) :])
    ]


def is_regression(found: Sequence[Comparisons], fail_on: set[str]) -> bool:
    """Whether a finding other than INVALID is in `fail_on`, which holds them in lower case.

    With any `fail_on`, a case that the candidate did not measure is a regression, too.
    """
    lost = any(each.side == group.candidate for group in found for each in group.lost)
    return bool(_findings(found) & (fail_on - {"invalid"})) or (lost and bool(fail_on))


def is_unjudged(found: Sequence[Comparisons], fail_on: set[str]) -> bool:
    """Whether a finding is INVALID and `fail_on` holds "invalid"."""
    return "invalid" in _findings(found) & fail_on


def _findings(found: Sequence[Comparisons]) -> set[str]:
    return {each.finding.lower() for group in found for each in group.compared}


def _two_runs(
    before: Recorded, after: Recorded, folders: tuple[Path, Path], margin: float
) -> Comparisons:
    modes = [_power_modes(recorded) for recorded in (before, after)]
    if all(modes) and modes[0] != modes[1]:
        raise UsageError(
            f"different power modes: {_listed(modes[0])} in {folders[0]}, "
            f"{_listed(modes[1])} in {folders[1]}",
            "Set one power mode, then measure one of the two folders again.",
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
    changed = differences(before.environment, after.environment)
    warnings = [*before.warnings, *after.warnings]
    unreadable = unreadable_in([before, after])
    return Comparisons(chip, base, candidate, changed, compared, lost, warnings, unreadable)


def _compare(
    before: Recorded, mine: Case, after: Recorded, theirs: Case, margin: float
) -> Comparison:
    rounds = before.history(mine).rounds, after.history(theirs).rounds
    found = ratio.compare(*rounds, usual=after.usual(theirs), margin=margin)
    verdicts = {mine: before.verdict(mine), theirs: after.verdict(theirs)}
    doubts = [
        f"the verdict on {naming.name(case)} is {verdict.text}"
        for case, verdict in verdicts.items()
        if verdict.level != "VALID" and not _is_of_one_process(verdict)
    ]
    note = "; ".join(text for text in (found.note, *doubts) if text)
    invalid = any(verdict.level == "INVALID" for verdict in verdicts.values())
    if invalid:
        found = msgspec.structs.replace(found, finding="INVALID")
    return ratio.with_more_rounds(msgspec.structs.replace(found, note=note))


def _is_of_one_process(verdict: Verdict) -> bool:
    """Whether a single process is the only doubt; the note on too few rounds says so, too."""
    return all(each.level == "VALID" or each.doubt is Doubt.ONE_PROCESS for each in verdict.reasons)


def _same_code(
    recorded: Recorded, pairs: Sequence[tuple[Case, Case]]
) -> tuple[list[str], list[str]]:
    """Return warnings on two networks of the user with the same files, and notes on two others.

    Both are about networks of the same structure.
    """
    warnings, notes = [], []
    for mine, theirs in pairs:
        before, after = (recorded.history(case).rounds[0] for case in (mine, theirs))
        same_weights = mine.model.partition("+")[2] == theirs.model.partition("+")[2]
        is_own = before.files and after.files and mine.model != theirs.model and same_weights
        names = f"{without_hash(mine.name)} and {without_hash(theirs.name)}"
        if not is_own or before.structure != after.structure:
            continue
        if before.files == after.files:
            warnings.append(
                f"{names} ran the same code: the same files, and networks of the same structure. "
                "Check the paths, if you meant two versions"
            )
        else:
            notes.append(f"{names} are networks of the same structure; only their code differs")
    return list(dict.fromkeys(warnings)), list(dict.fromkeys(notes))


def pairs_of(
    recorded: Recorded, base: str, candidate: str
) -> tuple[list[tuple[Case, Case]], list[MissingCase]]:
    """Pairs of comparable cases, and the cases that have no pair.

    Two cases that were selected by id form a pair in any setting of one group.
    """
    mine, theirs = _apart(*(recorded.matching(selector) for selector in (base, candidate)))
    for selector, cases in ((base, mine), (candidate, theirs)):
        forms = dict.fromkeys(without_hash(case.name) for case in cases)
        if len(forms) > 1:
            raise UsageError(
                f"{selector} has several forms", "Name one of them: " + ", ".join(forms)
            )
    if set(mine) & set(theirs):
        raise UsageError(f"{base} and {candidate} are the same case", "Name two different cases.")
    by_id = all(
        case.case_id.startswith(selector)
        for selector, cases in ((base, mine), (candidate, theirs))
        for case in cases
    )
    pairs = [(a, b) for a in mine for b in theirs if by_id or _are_comparable(a, b)]
    pairs = [(a, b) for a, b in pairs if a.group == b.group]
    found = {a for a, _ in pairs}
    lost = [
        MissingCase(case, candidate, "was not measured in this setting")
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


def _are_comparable(mine: Case, theirs: Case) -> bool:
    """Whether the settings are equal; of one network, one of MAY_DIFFER may differ."""
    if mine.setting == theirs.setting:
        return True
    changes = [{field: getattr(mine, field), "label": mine.label} for field in MAY_DIFFER]
    return mine in [msgspec.structs.replace(theirs, **change) for change in changes]


def _apart(mine: list[Case], theirs: list[Case]) -> tuple[list[Case], list[Case]]:
    """Leave out of one selection what the other names: `resnet50`, next to `resnet50 compile`."""
    if set(theirs) < set(mine):
        return [case for case in mine if case not in theirs], theirs
    if set(mine) < set(theirs):
        return mine, [case for case in theirs if case not in mine]
    return mine, theirs


def _lost(case: Case, side: str, history: History) -> MissingCase | None:
    if history.failure:
        failure: Failure = history.failure
        return MissingCase(
            case, side, f"failed at {failure.stage}: {failure.error}: {failure.message}"
        )
    return None if history.rounds else MissingCase(case, side, "was not measured")


def _power_modes(recorded: Recorded) -> set[str]:
    named = {str(mode) for mode in [recorded.environment.chip.facts.get("power_mode")] if mode}
    rounds = [r for r in recorded.records if isinstance(r, Measurement) and r.conditions]
    return named.union(*(set(r.conditions.power_modes) for r in rounds if r.conditions))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def differences(before: Environment, after: Environment) -> list[str]:
    """Facts that differ between two environments: `torch 2.0 → torch 2.1`."""
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
