"""The pages of `bench compare`: Markdown, JSON, and a picture of the intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench import text
from bench.analysis.compare import Comparisons
from bench.analysis.ratio import Comparison
from bench.analysis.stats import Estimate
from bench.models import naming
from bench.report.figures.forest import Bar, forest
from bench.report.tables.markdown import to_markdown_table
from bench.storage.pages import write_pages
from bench.text import NOTHING, markdown, milliseconds, significant

MOST_BARS = 100  # in one picture, which is then about 5,000 pixels high
FURTHER = re.compile(r"compare-[1-9]\d*\.png")


def write(found: Sequence[Comparisons], folder: Path) -> list[Path]:
    """Write `compare.md`, `compare.json` and the pictures into `folder`. Raises UsageError.

    The pictures are `compare.png`, `compare-2.png` and so on. Pictures of an earlier comparison
    with more cases are removed.
    """
    pages = {
        "compare.md": (to_markdown(found) + "\n").encode(),
        "compare.json": (to_json(found) + "\n").encode(),
    }
    for number, content in enumerate(pictures(found), 1):
        pages["compare.png" if number == 1 else f"compare-{number}.png"] = content
    written = write_pages(folder, pages)
    for path in folder.glob("compare-*.png"):
        if FURTHER.fullmatch(path.name) and path.name not in pages:
            path.unlink()
    return written


def to_json(found: Sequence[Comparisons]) -> str:
    """Every field of the comparisons as JSON; a ratio is [point, low, high]."""
    return text.to_json(found, indent=2)


def to_markdown(found: Sequence[Comparisons]) -> str:
    """Per group: warnings, notes, how the environments differ, the table, the lost cases."""
    return "\n\n".join(part for group in found for part in _parts(group))


def pictures(found: Sequence[Comparisons]) -> list[bytes]:
    """PNGs of each latency ratio with its interval, at most MOST_BARS in one of them."""
    compared = [each for group in found for each in group.compared if each.ratio]
    bars = [Bar(_name(each), each.ratio, each.finding) for each in compared if each.ratio]
    margin = compared[0].margin if compared else 0.0
    title = f"{found[0].candidate} over {found[0].base}"
    below = "Ratio of latencies, 95 % interval: below 1 is faster"
    parts = [bars[start : start + MOST_BARS] for start in range(0, len(bars), MOST_BARS)] or [[]]
    return [
        forest(part, margin, title if len(parts) == 1 else f"{title}, {n} of {len(parts)}", below)
        for n, part in enumerate(parts, 1)
    ]


def _parts(group: Comparisons) -> list[str]:
    parts = [f"# {markdown(group.candidate)} over {markdown(group.base)} on {markdown(group.chip)}"]
    said = [*group.unreadable, *group.warnings]
    parts += [f"Warning: {markdown(warning)}." for warning in said]
    parts += [f"Note: {markdown(note)}." for note in group.notes]
    if group.differences:
        listed = "\n".join(f"- {markdown(line)}" for line in group.differences)
        parts.append(f"The environments differ:\n\n{listed}")
    if group.compared:
        parts.append(to_markdown_table(pd.DataFrame([_line(each) for each in group.compared])))
        parts.append(_how_to_read(group.compared))
    lost = [
        f"- {markdown(naming.name(each.case))}, batch {each.case.batch}: {markdown(each.why)} "
        f"({markdown(each.side)})"
        for each in group.lost
    ]
    return [*parts, *(["Not compared:\n\n" + "\n".join(lost)] if lost else [])]


def _line(each: Comparison) -> dict[str, str]:
    return {
        "Model": markdown(_name(each)),
        "Batch": str(each.base.batch),
        "Base (ms)": significant(milliseconds(each.base_s)),
        "Candidate (ms)": significant(milliseconds(each.candidate_s)),
        "Ratio": significant(each.ratio.point if each.ratio else None),
        "95 % interval": _interval(each.ratio),
        "In words": in_words(each.ratio),
        "Finding": each.finding,
        "Rounds": str(each.rounds or NOTHING),
        "To decide": _more(each),
    }


def _name(each: Comparison) -> str:
    names = [naming.title(case) for case in (each.base, each.candidate)]
    return names[0] if names[0] == names[1] else f"{names[1]} / {names[0]}"


def _interval(ratio: Estimate | None) -> str:
    if ratio is None:
        return NOTHING
    return f"{significant(ratio.low)} to {significant(ratio.high)}"


def in_words(ratio: Estimate | None) -> str:
    """The change of the latency, (ratio - 1) in per cent: `4.6 % faster, 95 % interval 1 to 8 %`.

    Where the two ends of the interval have different directions, each of them says its own.
    """
    if ratio is None:
        return NOTHING
    point, low, high = (100 * (value - 1) for value in ratio)
    if low < 0 < high:
        interval = f"{_directed(low)} to {_directed(high)}"
    else:
        nearest, farthest = sorted(map(abs, (low, high)))
        interval = f"{significant(nearest, 2)} to {significant(farthest, 2)} %"
    return f"{_directed(point)}, 95 % interval {interval}"


def _directed(percent: float) -> str:
    return f"{significant(abs(percent), 2)} % {'faster' if percent < 0 else 'slower'}"


def _more(each: Comparison) -> str:
    if not each.may_be_decided:
        return NOTHING
    return "hundreds" if each.more_rounds is None else f"{each.more_rounds} more"


def _how_to_read(compared: Sequence[Comparison]) -> str:
    margin = 100 * compared[0].margin
    text = (
        "The ratio is the candidate's latency / the base's latency. Both are geometric means of "
        "the medians that the ratio is computed from. Words give the change in per cent of the "
        "base's latency. The interval holds for the times at which both were measured; on another "
        "day the ratio may differ by more. FASTER and SLOWER: the whole "
        f"95 % interval is beyond {margin:g} %. SAME: the whole interval is within {margin:g} %. "
        "UNDECIDED: the interval is too wide to say, or there is none, as below three rounds; as "
        "many more rounds as *To decide* says would decide with a probability of 80 %. INVALID: "
        "the verdict on a case is INVALID; measure again on a quiet machine."
    )
    notes = dict.fromkeys(each.note for each in compared if each.note)
    return "\n\n".join([text, *(markdown(note[:1].upper() + note[1:]) + "." for note in notes)])
