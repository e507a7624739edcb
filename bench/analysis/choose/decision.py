"""Which networks fit a budget: each case judged, then each network by its best case."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import msgspec

from bench.analysis.choose.budget import Budget, Limit
from bench.analysis.choose.figures import LATENCY, QUANTITIES, TOP1, Figure, Quantity
from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.errors import UsageError
from bench.records import Case


class Standing(enum.Enum):
    """Where a case stands with a budget, the best first; a network has the best of its cases."""

    FITS = "fits"
    OPEN = "cannot be told"
    UNMEASURED = "not measured"
    LOST = "does not fit"


class Judged(msgspec.Struct, frozen=True):
    """One quantity that a budget asks for, what is known of it, and its limit.

    `limit` is None for the objective.
    """

    of: Quantity
    figure: Figure
    limit: Limit | None = None

    @property
    def standing(self) -> Standing:
        """FITS or LOST where the whole interval is on one side of the limit."""
        if self.figure.point is None:
            return Standing.UNMEASURED
        if self.limit is None:
            return Standing.UNMEASURED if self.figure.missing else Standing.FITS
        low, high, bound = self.figure.low, self.figure.high, self.limit.bound
        if self.of.at_least:
            fits, lost = low >= bound, high < bound
        else:
            fits, lost = high <= bound, low > bound
        if lost:
            return Standing.LOST
        if self.figure.missing:
            return Standing.UNMEASURED
        return Standing.FITS if fits else Standing.OPEN

    @property
    def excess(self) -> float:
        """The factor by which the value exceeds the limit; of top-1, that of the share of errors.

        Below 1, the value keeps to the limit.
        """
        if self.limit is None or self.figure.point is None:
            return 0.0
        bound, point = self.limit.bound, self.figure.point
        if self.of.at_least:
            bound, point = 100 - bound, 100 - point
        return point / bound if bound else math.inf


class Candidate(msgspec.Struct, frozen=True):
    """A case with all that its budget asks for: the limits, then the objective."""

    row: Row
    judged: tuple[Judged, ...]

    @property
    def objective(self) -> Figure:
        """What is known of what orders the candidates."""
        return self.judged[-1].figure

    @property
    def standing(self) -> Standing:
        """LOST by any limit; otherwise the worst standing with a limit."""
        found = {each.standing for each in self.judged}
        order = (Standing.LOST, Standing.UNMEASURED, Standing.OPEN)
        return next((each for each in order if each in found), Standing.FITS)

    @property
    def place(self) -> int:
        """The place of its standing, the best first; what can never be told comes after LOST."""
        missing = [each for each in self.judged if each.standing is Standing.UNMEASURED]
        if self.standing is Standing.UNMEASURED and any(each.figure.is_never for each in missing):
            return len(Standing)
        return list(Standing).index(self.standing)

    @property
    def decisive(self) -> Judged:
        """The limit that decides: of those with the candidate's standing, the one exceeded most."""
        own = [each for each in self.judged if each.standing is self.standing]
        return max(own or self.judged, key=lambda each: each.excess)


class Entry(msgspec.Struct, frozen=True):
    """A network: its best case, and how many others of its cases have the same standing.

    `ratio` is that of its latency to the winner's, None where it cannot be told. `tied`: whether
    the objective does not tell it apart from the winner, where both were compared; always true for
    the winner.
    """

    candidate: Candidate
    others: int
    ratio: Estimate | None = None
    tied: bool = False

    @property
    def case(self) -> Case:
        """The best case."""
        return self.candidate.row.case


class Decision(msgspec.Struct, frozen=True):
    """All networks on record by their standing; each list in order, the nearest to fit first."""

    budget: Budget
    fits: list[Entry]
    open: list[Entry]
    unmeasured: list[Entry]
    lost: list[Entry]

    @property
    def tied(self) -> list[Entry]:
        """The networks that are not told apart from the winner."""
        return [each for each in self.fits[1:] if each.tied]


def decide(rows: Sequence[Row], budget: Budget) -> Decision:
    """The decision among the cases in `rows`, which are of one device and of the budget's setting.

    A network has several cases: forms, backends, precisions, threads, allocators. It fits if one of
    them does, and is lost only if all of them are. Raises UsageError if nobody measured a quantity
    that the budget asks for, on any case.
    """
    candidates = [_candidate(row, budget) for row in rows]
    _check_known(candidates)
    by_network: dict[str, list[Candidate]] = {}
    for each in candidates:
        by_network.setdefault(each.row.case.model, []).append(each)
    entries = [_entry(several, budget) for several in by_network.values()]
    of = {
        standing: sorted(
            (each for each in entries if each.candidate.standing is standing),
            key=lambda each: _order(each.candidate, budget),
        )
        for standing in Standing
    }
    return Decision(
        budget,
        _beside_winner(of[Standing.FITS], budget),
        of[Standing.OPEN],
        of[Standing.UNMEASURED],
        of[Standing.LOST],
    )


def _candidate(row: Row, budget: Budget) -> Candidate:
    asked: list[tuple[Quantity, Limit | None]] = [(limit.of, limit) for limit in budget.limits]
    asked.append((QUANTITIES[budget.objective], None))
    return Candidate(
        row, tuple(Judged(of, of.of(row, budget.dataset), limit) for of, limit in asked)
    )


def _check_known(candidates: Sequence[Candidate]) -> None:
    """Raise UsageError if no measurement can tell a quantity, or the top-1 is known of no case."""
    for same in zip(*(each.judged for each in candidates), strict=True):
        of, figures = same[0].of, [each.figure for each in same]
        why = [each.missing for each in figures if each.is_never or of is TOP1]
        if why and all(each.point is None for each in figures):
            raise UsageError(
                f"{of.title} is known of none of {len(figures)} cases: {why[0]}",
                _remedy(candidates, of),
            )


def _remedy(candidates: Sequence[Candidate], of: Quantity) -> str:
    if of is not TOP1:
        return "Leave it out of the budget, or measure on a device that can tell it."
    known = {a.dataset for each in candidates for a in each.row.accuracies}
    named = f" Known: --dataset {' or '.join(sorted(known))}." if known else ""
    return f"`bench eval` measures it; published ones are of ImageNet-1K at 224 pixels.{named}"


def _entry(several: Sequence[Candidate], budget: Budget) -> Entry:
    best = min(each.place for each in several)
    same = [each for each in several if each.place == best]
    chosen = min(same, key=lambda each: _order(each, budget))
    return Entry(chosen, len(same) - 1)


def _order(each: Candidate, budget: Budget) -> tuple[float, ...]:
    """LOST by how far the decisive limit is exceeded; others by the objective, then by latency.

    Where the objective has no interval, the candidate comes after those with one.
    """
    latency = each.row.typical_s or math.inf
    if each.standing is Standing.LOST:
        return (each.decisive.excess, latency)
    value = each.objective.point
    if value is None:
        return (False, math.inf, latency)
    sign = -1 if QUANTITIES[budget.objective].at_least else 1
    return (each.objective.is_rough, sign * value, latency)


def _beside_winner(entries: Sequence[Entry], budget: Budget) -> list[Entry]:
    """The networks that fit, each compared with the first."""
    if not entries:
        return []
    winner = entries[0].candidate
    return [
        msgspec.structs.replace(entries[0], tied=True),
        *(_compared(winner, each, budget) for each in entries[1:]),
    ]


def _compared(winner: Candidate, entry: Entry, budget: Budget) -> Entry:
    found = compare(winner.row.rounds, entry.candidate.row.rounds)
    if budget.objective == LATENCY.name:
        tied = found.ratio is not None and found.finding != "SLOWER"
    else:
        one, other = winner.objective, entry.candidate.objective
        tied = one.low <= other.high and other.low <= one.high
    return msgspec.structs.replace(entry, ratio=found.ratio, tied=tied)


def wanted(case: Case, budget: Budget) -> bool:
    """Whether a case was measured in the setting of the budget."""
    size = case.input or str(case.resolution)
    return case.is_tight and case.batch == budget.batch and size == budget.size
