"""`report.md`: what the report holds, of which devices, and what it lacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from bench.report.devices import DeviceResults
from bench.report.figures.catalogue import FIGURES
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import NOTHING, markdown

WARNINGS_SHOWN = 20
OF_BATCH = re.compile(r"-\d+(?=\.)")  # in the name of a figure that is drawn for each batch
ABOUT = {
    "report.html": "everything in one page: a table to sort and filter, accuracy over latency",
    "claims.md": "the paper's claims about efficiency, tested",
    "results.md": "every case, with intervals, verdicts and their reasons",
    "table2.md": "Table 2 of the paper: ImageWoof",
    "table3.md": "Table 3: Cifar100, 64 pixels",
    "table4.md": "Table 4: ImageNet-1K, latency and throughput",
    "table5.md": "Table 5: the ablation from ConvNeXt to RepNeXt",
    "table6.md": "Table 6: different devices",
    **{f"{figure.name}.png": figure.about for figure in FIGURES},
    "profile.md": "the profiles in numbers",
}
STEMS = {name.partition(".")[0] for name in ABOUT} | {"report"}
KINDS = {"md", "csv", "tex", "png", "svg", "html"}
PICTURES = [f"{figure.name}.png" for figure in FIGURES if figure.joins_devices]


def render(
    every: Sequence[DeviceResults],
    joint: Iterable[str],
    beside: Mapping[str, Iterable[str]],
    warnings: Sequence[str],
) -> bytes:
    """The index in Markdown.

    `joint` are the files of the report's own folder, `beside` those of each device by the way to
    its folder; `warnings` say what was left out when the records were read.
    """
    names = set(joint)
    latest = [each for each in every if each.latest]
    parts = ["# Report", to_markdown_table(pd.DataFrame([_line(each) for each in latest]))]
    parts += [f"![{ABOUT[name]}]({name})" for name in PICTURES if name in names]
    parts.append("## All devices\n\n" + "\n".join(_links(names)))
    for (way, files), device in zip(beside.items(), latest, strict=True):
        lines = "\n".join(_links(set(files), "" if way == "." else f"{quote(way)}/"))
        parts.append(f"## {markdown(device.label)}\n\n{describe(device.environment)}\n\n{lines}")
    if missing := [*_notes(every), *_warnings(warnings)]:
        parts.append("## What it lacks\n\n" + "\n".join(missing))
    return ("\n\n".join(parts) + "\n").encode()


def left_over(written: Iterable[Path]) -> list[Path]:
    """Files next to those `written` that bear a name of the report, and are of an earlier one."""
    new = set(written)
    folders = sorted({path.parent for path in new})
    beside = [path for folder in folders for path in sorted(folder.iterdir())]
    return [path for path in beside if _is_of_report(path.name) and path not in new]


def _is_of_report(name: str) -> bool:
    stem, _, kind = OF_BATCH.sub("", name).partition(".")
    return stem in STEMS and kind in KINDS


def _line(device: DeviceResults) -> dict[str, str]:
    levels = Counter(row.verdict.level for row in device.rows if row.verdict)
    verdicts = ", ".join(f"{count} {level}" for level, count in levels.most_common())
    return {
        "Device": markdown(device.label),
        "Cases": str(len(device.rows)),
        "Failed": str(sum(row.failure is not None for row in device.rows)),
        "Verdicts": verdicts or NOTHING,
        "Profiles": str(sum(bool(known.rounds) for known in device.profiles)),
    }


def _links(names: set[str], way: str = "") -> Iterator[str]:
    """One line for each file that is there, with its other formats."""
    plain = {name: OF_BATCH.sub("", name) for name in sorted(names)}
    batches = {name: ABOUT[base] for name, base in plain.items() if name != base in ABOUT}
    for name, about in {**ABOUT, **batches}.items():
        if name in names:
            stem = name.partition(".")[0]
            others = sorted(n for n in names if n.partition(".")[0] == stem and n != name)
            also = [f"[{other.partition('.')[2]}]({way}{other})" for other in others]
            yield f"- [{name}]({way}{name}): {about}" + f" ({', '.join(also)})" * bool(also)


def _notes(every: Sequence[DeviceResults]) -> Iterator[str]:
    for device in every:
        for note in device.notes:
            yield f"- {markdown(device.label)}: {markdown(note)}"


def _warnings(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings[:WARNINGS_SHOWN]:
        yield f"- {markdown(warning)}"
    if len(warnings) > WARNINGS_SHOWN:
        yield f"- and {len(warnings) - WARNINGS_SHOWN} more lines left out"
