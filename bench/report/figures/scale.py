"""An axis that leaves out empty gaps, so that an outlier does not squeeze everything else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from bench.report.figures.canvas import LEAST_MARGIN, LOG_SPREAD, MARGIN, MOST_DECADES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Span = tuple[float, float]

WIDE = 0.35  # a gap is left out if it is wider than this share of the axis,
FEW = 0.25  # and if at most this share of the spans, or one, lies beyond it
FEWEST_OTHERS = 4  # and if so many spans remain,
LEAST_LENGTH = 1e-3  # which differ by this share of the axis
MOST_GAPS = 2
WIDTH = 0.035  # the width of a gap that is left out: share of the axis
ROOM = 0.06  # kept on both sides of such a gap: share of the axis
TICKS = 8  # on the whole axis
CLOSEST = 0.05  # between ticks: share of the axis
TINY = 1e-300
SLASH: dict[str, Any] = {
    "marker": [(-1, -0.8), (1, 0.8)],
    "markersize": 9,
    "linestyle": "none",
    "color": "#222222",
    "markeredgecolor": "#222222",
    "markeredgewidth": 1,
    "clip_on": False,
    "zorder": 11,
}


class Scale(NamedTuple):
    """The limits of an axis, whether it is logarithmic, and the gaps that it leaves out."""

    low: float
    high: float
    is_log: bool
    gaps: tuple[Span, ...] = ()

    def forward(self, values: Any) -> NDArray[np.float64]:
        """Values to shares of the axis, linear beyond its limits."""
        return _interpolated(self._coded(values), *self._knots())

    def inverse(self, shares: Any) -> NDArray[np.float64]:
        """Shares of the axis to values."""
        coded, places = self._knots()
        found = _interpolated(np.asarray(shares, float), places, coded)
        return np.asarray(10**found) if self.is_log else found

    def parts(self) -> list[Span]:
        """The parts of the axis that are shown, from low to high."""
        ends = [self.low, *(end for gap in self.gaps for end in gap), self.high]
        return list(zip(ends[::2], ends[1::2], strict=True))

    def _coded(self, values: Any) -> NDArray[np.float64]:
        given = np.asarray(values, float)
        return np.log10(np.maximum(given, TINY)) if self.is_log else given

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends of the parts, coded, and their places: every gap has WIDTH."""
        coded = self._coded(self.parts()).reshape(-1)
        steps = np.diff(coded)
        steps[::2] *= (1 - WIDTH * len(self.gaps)) / steps[::2].sum()
        steps[1::2] = WIDTH
        return coded, np.concatenate([[0.0], np.cumsum(steps)])


def scale_of(
    spans: Sequence[Span], *, may_be_log: bool, least_margin: float = LEAST_MARGIN
) -> Scale:
    """The scale that holds all spans (low, high); logarithmic beyond LOG_SPREAD if that is allowed.

    A gap is left out if few spans, the outliers, lie beyond it. On a linear scale the margins are
    at least `least_margin` of the maximum. A logarithmic scale needs positive spans.
    """
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    is_log = may_be_log and high > LOG_SPREAD * low
    coded = [tuple(np.log10(span)) if is_log else span for span in spans]
    gaps = _gaps(coded)
    ends = [low for low, _ in coded] + [high for _, high in coded]
    kept = max(ends) - min(ends) - sum(above - below for below, above in gaps)
    least = 0.0 if is_log else least_margin * max(map(abs, ends))
    margin, room = max(MARGIN * kept, least), max(ROOM * kept, least)
    inner = tuple((below + room, above - room) for below, above in gaps)
    inner = tuple((below, above) for below, above in inner if above - below > WIDTH * kept)
    found = Scale(min(ends) - margin, max(ends) + margin, is_log, inner)
    if not is_log:
        return found
    return Scale(
        10**found.low, 10**found.high, is_log, tuple((10**one, 10**two) for one, two in inner)
    )


def apply(axes: Axes, name: str, scale: Scale) -> None:
    """Give the axis `name` (`x` or `y`) this scale, and mark the gaps that it leaves out."""
    axis: Axis = getattr(axes, f"{name}axis")
    getattr(axes, f"set_{name}scale")("function", functions=(scale.forward, scale.inverse))
    getattr(axes, f"set_{name}lim")(scale.low, scale.high)
    axis.set_major_locator(FixedLocator(_ticks(scale)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    for gap in scale.gaps:
        _mark(axes, name, gap)


def _gaps(spans: Sequence[Span]) -> list[Span]:
    """The gaps to leave out, from low to high; `spans` are coded as the axis is."""
    free = _free(spans)
    found: list[Span] = []
    length = max(high for _, high in spans) - min(low for low, _ in spans)
    while free and len(found) < MOST_GAPS:
        widest = max(free, key=lambda gap: gap[1] - gap[0])
        free.remove(widest)
        width = widest[1] - widest[0]
        below = sum(high <= widest[0] for _, high in spans)
        beyond = min(below, len(spans) - below)
        are_few = beyond <= max(1, FEW * len(spans)) and len(spans) - beyond >= FEWEST_OTHERS
        if are_few and WIDE * length < width < (1 - LEAST_LENGTH) * length:
            found.append(widest)
            length -= width
    return sorted(found)


def _free(spans: Iterable[Span]) -> list[Span]:
    """The gaps between spans."""
    found, end = [], np.inf
    for low, high in sorted(spans):
        if low > end:
            found.append((end, low))
        end = high if np.isinf(end) else max(end, high)
    return found


def _ticks(scale: Scale) -> list[float]:
    """Ticks on each part that is shown, at least one there, and none too close to another."""
    found: list[float] = []
    for low, high in scale.parts():
        if scale.is_log:
            subs = (1.0, 2.0, 5.0) if scale.high < scale.low * 10**MOST_DECADES else (1.0,)
            ticks = LogLocator(subs=subs, numticks=99).tick_values(low, high)
        else:
            share = float(np.diff(scale.forward([low, high]))[0])
            steps = MaxNLocator(nbins=max(round(TICKS * share), 1), steps=[1, 2, 2.5, 5, 10])
            ticks = steps.tick_values(low, high)
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        inside = inside or [float(f"{(low + high) / 2:.2g}")]
        for tick in inside:
            if not found or scale.forward(tick) - scale.forward(found[-1]) > CLOSEST:
                found.append(tick)
    return found


def _mark(axes: Axes, name: str, gap: Span) -> None:
    """A white band instead of the gap, and two slashes where it meets the axis."""
    span = axes.axvspan if name == "x" else axes.axhspan
    span(*gap, facecolor="#f4f4f4", edgecolor="none", zorder=0.9)
    along = axes.get_xaxis_transform() if name == "x" else axes.get_yaxis_transform()
    ends = ([*gap], [0, 0]) if name == "x" else ([0, 0], [*gap])
    axes.plot(
        *ends,
        transform=along,
        color="white",
        linewidth=2.5,
        clip_on=False,
        zorder=10,
        solid_capstyle="butt",
    )
    axes.plot(*ends, transform=along, **SLASH)


def _interpolated(
    values: NDArray[np.float64], known: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear between the knots, and with the slope of the whole beyond them."""
    slope = (wanted[-1] - wanted[0]) / (known[-1] - known[0])
    found = np.interp(values, known, wanted)
    beyond = np.minimum(values - known[0], 0) + np.maximum(values - known[-1], 0)
    return np.asarray(found + slope * beyond)
