"""The spots of a plot of accuracy over latency, and the cases that it omits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.analysis.rows import Row
from bench.models import forms, naming
from bench.models.forms import Form
from bench.paper.accuracy import Accuracy
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import fitted, listed
from bench.report.figures.titles import setting_of, settings_of, title_of

BATCH = 1
LONGEST_TITLE = 80
LONGEST_BAR = 5.0  # an interval further from its latency than this factor is cut there


class Spot(NamedTuple):
    """A case: its latency in milliseconds, and its accuracy on ImageNet-1K."""

    row: Row
    family: str
    size: str
    ms: float
    accuracy: Accuracy

    @property
    def top1(self) -> float:
        """Top-1 accuracy in per cent."""
        return self.accuracy.top1

    @property
    def form(self) -> Form:
        """The form of the case, which determines the marker."""
        return forms.find(self.row.case.form)

    @property
    def level(self) -> str:
        """The verdict: VALID, SUSPECT or INVALID."""
        return doubts.level(self.row)

    @property
    def fill(self) -> str:
        """The source of the accuracy; `more data` for weights trained on more than ImageNet-1K."""
        return "more data" if self.accuracy.more_data else self.accuracy.source

    @property
    def ends_ms(self) -> tuple[float, float]:
        """The ends of the interval, or twice the latency without one.

        An end further from the latency than a factor of LONGEST_BAR is cut there.
        """
        interval = self.row.interval
        if not interval:
            return self.ms, self.ms
        low = max(1e3 * interval.low, self.ms / LONGEST_BAR)
        return low, min(1e3 * interval.high, self.ms * LONGEST_BAR)

    @property
    def is_cut(self) -> tuple[bool, bool]:
        """Whether `ends_ms` cuts the lower and the upper end of the interval."""
        interval = self.row.interval
        if not interval:
            return False, False
        low, high = self.ends_ms
        return 1e3 * interval.low < low, 1e3 * interval.high > high

    @property
    def counts(self) -> bool:
        """Whether it may be on the front: not INVALID, and trained on ImageNet-1K only."""
        return self.level != "INVALID" and not self.accuracy.more_data


class Panel(NamedTuple):
    """One device in one setting; `settings` spells it out.

    Omitted cases: `unknown` accuracy, `failed`, too `far` from the front, and the number of cases
    in each other setting (`elsewhere`).
    """

    title: str
    settings: str
    spots: list[Spot]
    unknown: list[str]
    failed: list[str]
    far: list[str]
    elsewhere: Counter[str]


def panel(device: DeviceResults, most: int) -> Panel:
    """The panel of a device: at most `most` spots, all in one setting, and the omitted cases."""
    rows = [row for row in device.rows if row.case.batch == BATCH]
    spots = [spot for spot in map(_spot, rows) if spot]
    settings = Counter(setting_of(spot.row) for spot in spots)
    chosen = "" if "" in settings or not settings else settings.most_common(1)[0][0]
    here = [row for row in rows if setting_of(row) == chosen]
    near, far = nearest([spot for spot in spots if setting_of(spot.row) == chosen], most)
    other = [setting_of(row) or naming.USUAL_SETTING for row in rows if setting_of(row) != chosen]
    return Panel(
        title=fitted(device.label, LONGEST_TITLE),
        settings=settings_of([spot.row.case for spot in near]),
        spots=near,
        unknown=[title_of(row) for row in here if row.summary and not row.accuracy()],
        failed=[title_of(row) for row in here if not row.summary],
        far=[title_of(spot.row) for spot in far],
        elsewhere=Counter(other),
    )


def nearest(spots: Sequence[Spot], most: int) -> tuple[list[Spot], list[Spot]]:
    """The `most` spots nearest to the Pareto front, and the others; both in the given order.

    distance = max(best top-1 of all spots at most as slow − own top-1, 0).
    """
    best, lost = 0.0, [0.0] * len(spots)
    for place in sorted(range(len(spots)), key=lambda i: (spots[i].ms, -spots[i].top1)):
        if spots[place].counts:
            best = max(best, spots[place].top1)
        lost[place] = max(best - spots[place].top1, 0.0)
    order = sorted(range(len(spots)), key=lambda i: (lost[i], i))
    near, far = ([spots[i] for i in sorted(part)] for part in (order[:most], order[most:]))
    return near, far


def front(spots: Iterable[Spot]) -> list[Spot]:
    """The Pareto front, the fastest first: spots more accurate than every faster spot.

    Spots that do not count (`Spot.counts`) are ignored.
    """
    found: list[Spot] = []
    for spot in sorted(spots, key=lambda spot: (spot.ms, -spot.top1)):
        if spot.counts and (not found or spot.top1 > found[-1].top1):
            found.append(spot)
    return found


def _spot(row: Row) -> Spot | None:
    known = row.accuracy()
    if row.typical_s is None or not known:
        return None
    return Spot(row, *naming.family(row.case), 1e3 * row.typical_s, known)


def series(spots: Iterable[Spot]) -> list[list[Spot]]:
    """Groups of spots of the same family and form, each with the fastest first."""
    found: dict[tuple[str, str], list[Spot]] = {}
    for spot in sorted(spots, key=lambda spot: spot.ms):
        found.setdefault((spot.family, spot.row.case.form), []).append(spot)
    return list(found.values())


def omission_notes(shown: Sequence[Panel], others: Sequence[Panel], width: int) -> list[str]:
    """Lines of `width` letters that name the omitted cases and devices, with the reason."""
    unknown = dict.fromkeys(name for each in shown for name in each.unknown)
    several = len(shown) > 1
    failed = [
        f"{name} on {each.title}" if several else name for each in shown for name in each.failed
    ]
    far = dict.fromkeys(name for each in shown for name in each.far)
    elsewhere = sum((each.elsewhere for each in shown), Counter[str]())
    cases = [f"{fitted(where, LONGEST_TITLE)} ({count})" for where, count in elsewhere.items()]
    kinds = {
        "no accuracy on ImageNet-1K known: ": list(unknown),
        "failed: ": failed,
        "further from the front: ": list(far),
        "cases in other settings: ": cases,
        f"more than {len(shown)} devices: ": [each.title for each in others],
    }
    return [
        line for kind, names in kinds.items() for line in listed(f"Not shown, {kind}", names, width)
    ]
