"""Latency by category of operator, as bars like the paper's Figure 5. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.analysis.profile import summary
from bench.devices import has_queue
from bench.models import naming
from bench.records import Profile
from bench.report.figures.canvas import fitted, literal, painted, shortened
from bench.report.figures.titles import LONGEST, settings_of, with_room
from bench.text import NOT_MEASURED, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, Tol's wine, and greys. HATCHES distinguish terms of the same colour.
CATEGORY_COLOURS: dict[str, str] = {
    "depthwise or group conv": "#D55E00",
    "pointwise conv": "#0072B2",
    "other conv": "#56B4E9",
    "fully connected": "#0072B2",
    "layer norm": "#009E73",
    "batch norm": "#009E73",
    "activation": "#E69F00",
    "addition": "#F0E442",
    "dimension transform": "#CC79A7",
    "attention": "#CC79A7",
    "pooling": "#D55E00",
    "other": "#882255",
    "unattributed": "#444444",
    summary.GAPS: "#C4C4C4",
    summary.SYNC: "#C4C4C4",
    summary.RESIDUAL: "#FFFFFF",
}
HATCHES: dict[str, str] = {
    "fully connected": "////",
    "batch norm": "////",
    "attention": "////",
    "pooling": "////",
    summary.SYNC: "////",
    summary.RESIDUAL: "xxxx",
}
LATENCY = "latency (median without the profiler)"
RESIDUAL_NOTE = (
    "Terms + residual = latency (the black mark). If the terms exceed the latency, the residual is "
    "negative and drawn backwards from the bar's end."
)
WIDTH, TOP, NOTE, LINE, SPACE = 9.5, 1.55, 0.18, 0.15, 0.16  # inches
BAR, TALLEST = 0.64, 0.84  # share of a row's height: a stacked bar, all bars of utilisation
WRAP_NAME, WRAP_NOTE, LEGEND_COLUMNS = 26, 145, 4
WRITTEN_FROM = 9.0  # per cent: a smaller segment has no room for its number
UTILISATION_COLOURS = ("#C9C9C9", "#D9D9D9", "#E9E9E9")  # light, because text is written on them


class Segment(NamedTuple):
    """A term's segment of a stacked bar, in seconds; a negative width extends left from `left`."""

    term: str
    left: float
    width: float


def figure5(profiles: Sequence[Profile], chip: str) -> dict[str, bytes]:
    """Latency by term in milliseconds and per cent, and utilisation; one row per profile.

    Raises ValueError if `profiles` is empty or has several batches.
    """
    batches = {profile.case.batch for profile in profiles}
    if len(batches) != 1:
        raise ValueError("Figure 5 needs at least one profile, and all of the same batch")
    used = " and utilisation" if any(map(_utilisations, profiles)) else ""
    settings = settings_of([profile.case for profile in profiles])
    title = f"Latency decomposition{used} on {fitted(chip, LONGEST)}\n{settings}"
    return painted(lambda figure: paint(figure, profiles, title), _size(profiles))


def paint(figure: Figure, profiles: Sequence[Profile], title: str) -> None:
    """Draw the same on an existing figure."""
    figure.suptitle(literal(title), x=0.01, ha="left", fontsize=11)
    known = any(map(_utilisations, profiles))
    widths = [3.0, 3.0, 1.7][: 3 if known else 2]
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    _milliseconds(panels[0], profiles)
    _shares(panels[1], profiles)
    if known:
        _utilisation(panels[2], profiles)
    panels[0].set_yticks(range(len(profiles)), labels(profiles), fontsize=9)
    panels[0].set_ylim(len(profiles) - 0.45, -0.55)
    for axes in panels:
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=9)
    handles: list[Any] = [Patch(label=term, **look(term)) for term in terms(profiles)]
    handles.append(Line2D([], [], color="black", linewidth=2, label=LATENCY))
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=LEGEND_COLUMNS,
        title=literal("\n".join(_notes(profiles))),
        title_fontsize=8,
        alignment="left",
    )


def look(term: str) -> dict[str, Any]:
    """The fill of a term: colour and hatch are the same in every figure."""
    residual = term == summary.RESIDUAL
    return {
        "facecolor": CATEGORY_COLOURS[term],
        "hatch": HATCHES.get(term),
        "edgecolor": "#222222" if residual else "white",
        "linewidth": 0.8 if residual else 0.4,
    }


def terms(profiles: Iterable[Profile]) -> list[str]:
    """The terms that are not zero in every profile, in stacking order."""
    seconds = [summary.by_term(profile) for profile in profiles]
    return [term for term in summary.TERMS if any(each[term] for each in seconds)]


def segments(profile: Profile) -> list[Segment]:
    """The segments of a bar from left to right; negative terms come last and extend back."""
    placed, end = [], 0.0
    for term, seconds in sorted(summary.by_term(profile).items(), key=lambda item: item[1] < 0):
        if seconds:
            placed.append(Segment(term, end, seconds))
            end += seconds
    return placed


def titles(profiles: Sequence[Profile]) -> list[str]:
    """The titles of the profiles' cases; with the number of threads if it differs."""
    differ = len({profile.case.threads for profile in profiles}) > 1
    return [naming.title(profile.case, with_threads=differ) for profile in profiles]


def labels(profiles: Sequence[Profile], width: int = WRAP_NAME) -> list[str]:
    """The titles; of one with more than `width` letters the setting is on the next lines.

    The name of a network is never split; a very long one loses its middle. An asterisk marks a
    profile with doubts.
    """
    found = []
    for profile, title in zip(profiles, titles(profiles), strict=True):
        case = profile.case
        network = naming.network_title(case.model, case.form, case.label)
        is_long = len(title) > width
        setting = textwrap.wrap(title.removeprefix(network).strip(), width)
        lines = [shortened(network, LONGEST), *setting] if is_long else [title]
        found.append(literal("\n".join(lines) + (" *" if summary.doubts(profile) else "")))
    return found


def doubt_notes(profiles: Sequence[Profile]) -> list[str]:
    """One line per doubt: what the asterisks mean."""
    return [
        f"* {title}: {doubt}"
        for profile, title in zip(profiles, titles(profiles), strict=True)
        for doubt in summary.doubts(profile)
    ]


def _size(profiles: Sequence[Profile]) -> tuple[float, float]:
    """Width and height in inches; a row fits the longest name and the bars of utilisation."""
    lines = max(label.count("\n") + 1 for label in labels(profiles))
    bars = max(len(_utilisations(profile)) for profile in profiles)
    row = max(LINE * max(lines, bars) + SPACE, 0.42)
    legend = -(-(len(terms(profiles)) + 1) // LEGEND_COLUMNS)
    below = NOTE * (legend + len(_notes(profiles)))
    return (with_room(WIDTH, labels(profiles)), TOP + row * len(profiles) + below)


def _notes(profiles: Sequence[Profile]) -> list[str]:
    lines = [RESIDUAL_NOTE] if summary.RESIDUAL in terms(profiles) else []
    lines += doubt_notes(profiles)
    return [part for line in lines for part in textwrap.wrap(line, WRAP_NOTE)]


def _bars(axes: Axes, profiles: Sequence[Profile], scales: Sequence[float]) -> None:
    """Draw a stacked bar per profile and a mark at its latency; lengths are seconds x scale."""
    for place, (profile, scale) in enumerate(zip(profiles, scales, strict=True)):
        for term, left, width in segments(profile):
            style = look(term) | ({"facecolor": "none"} if width < 0 else {})
            axes.barh(place, width * scale, BAR, left * scale, label=term, **style)
        latency = profile.waterfall.plain_s * scale
        half = TALLEST / 2
        axes.plot([latency] * 2, [place - half, place + half], color="black", linewidth=1.6)


def _milliseconds(axes: Axes, profiles: Sequence[Profile]) -> None:
    axes.set_title("Latency (ms)", fontsize=10)
    _bars(axes, profiles, [1e3] * len(profiles))
    ends = [1e3 * _end(profile) for profile in profiles]
    axes.set_xlim(0, 1.2 * max(ends))
    for place, (profile, end) in enumerate(zip(profiles, ends, strict=True)):
        axes.annotate(
            significant(1e3 * profile.waterfall.plain_s),
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )


def _shares(axes: Axes, profiles: Sequence[Profile]) -> None:
    """Draw the shares of the latency in per cent, with the residual to the right of each bar."""
    axes.set_title("Share of the latency (%)", fontsize=10, loc="left")
    plain = [profile.waterfall.plain_s for profile in profiles]
    _bars(axes, profiles, [100 / seconds for seconds in plain])
    axes.set_xlim(0, max(100 * _end(p) / p.waterfall.plain_s for p in profiles) + 1)
    for place, (profile, latency) in enumerate(zip(profiles, plain, strict=True)):
        for term, left, width in segments(profile):
            share = 100 * width / latency
            if share >= WRITTEN_FROM and term != summary.RESIDUAL:
                _number(axes, 100 * left / latency + share / 2, place, share)
        residual = 100 * profile.waterfall.residual_s / latency
        _right_of_bar(axes, place, f"{residual:+.1f}".replace("-", "−"))
    _right_of_bar(axes, -0.55, "residual (%)", va="bottom")


def _number(axes: Axes, x: float, y: float, value: float) -> None:
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
    axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=8, bbox=box)


def _right_of_bar(axes: Axes, y: float, text: str, va: str = "center") -> None:
    where = axes.get_yaxis_transform()
    axes.text(1.02, y, text, transform=where, va=va, fontsize=8, clip_on=False)


def _end(profile: Profile) -> float:
    """The end of the bar in seconds: max(latency, end of every segment)."""
    ends = [left + width for _, left, width in segments(profile)]
    return max([profile.waterfall.plain_s, *ends])


def _utilisations(profile: Profile) -> list[tuple[str, float]]:
    """The known utilisations as (name, share). Busy refers to the latency without the profiler.

    There are none of a CPU, whose operators run one after another: its cores are always busy.
    """
    used = profile.utilisation
    if not has_queue(profile.case.device):
        return []
    corrected = used.busy if used.busy_corrected is None else used.busy_corrected
    shares = [
        ("GPU busy", corrected),
        ("SM fill", used.sm_fill),
        ("driver's counter", used.sampled),
    ]
    return [(what, share) for what, share in shares if share is not None]


def _utilisation(axes: Axes, profiles: Sequence[Profile]) -> None:
    axes.set_title("Utilisation (%)", fontsize=10)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100])
    most = max(len(_utilisations(profile)) for profile in profiles)
    height = min(TALLEST / most, BAR)
    for place, profile in enumerate(profiles):
        shares = _utilisations(profile)
        for index, (what, share) in enumerate(shares):
            y = place + (index - (len(shares) - 1) / 2) * height
            axes.barh(y, 100 * share, 0.9 * height, color=UTILISATION_COLOURS[index])
            axes.text(3, y, f"{what} {100 * share:.0f}", va="center", fontsize=8)
        if not shares:
            axes.text(3, place, NOT_MEASURED, va="center", fontsize=8, color="#666666")
