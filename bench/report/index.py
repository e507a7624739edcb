"""`report.md`: the devices, links to all pages of the report, and what is missing."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from bench.report.devices import DeviceResults
from bench.report.figures.catalogue import FIGURES
from bench.report.gather import Reading
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import NOTHING, markdown

OF_BATCH = re.compile(r"-\d+(?=\.)")  # the batch in a file name, as in distributions-128.png
OF_WIDTH = re.compile(r"-[a-z]+(?=\.pdf)")  # the width of a figure to print: figure1-column.pdf
ABOUT = {
    "report.html": "all latencies in one page: a sortable table, accuracy over latency",
    "claims.md": "the paper's claims about efficiency, tested",
    "results.tex": "every case as a LaTeX table, to print in a paper",
    "results.md": "every case: interval, verdict and its reasons",
    "runtimes.md": "the same networks in several backends, the fastest way to run each",
    "curves.md": "throughput over the batch size: knees and crossovers",
    "in-use.md": "latency as a user meets it: starts, rests, a fixed rate, preprocessing",
    "training.md": "what a training step costs",
    "accuracy.md": "accuracies measured here, and whether forms agree image by image",
    "table2.md": "Table 2 of the paper: ImageWoof",
    "table3.md": "Table 3: Cifar100, 64 pixels",
    "table4.md": "Table 4: ImageNet-1K, latency and throughput",
    "table5.md": "Table 5: the ablation from ConvNeXt to RepNeXt",
    "table6.md": "Table 6: different devices",
    **{f"{figure.name}.png": figure.about for figure in FIGURES},
    "training.png": "training steps against that of ConvNeXt-T",
    "latency-column.pdf": "latency of every network, to print in a paper",
    "profile.md": "the profiles in numbers",
}
STEMS = {name.partition(".")[0] for name in ABOUT} | {"report"}
KINDS = {"md", "csv", "tex", "png", "svg", "pdf", "html"}
PICTURES = [f"{figure.name}.png" for figure in FIGURES if figure.joins_devices]


def render(
    every: Sequence[DeviceResults],
    joint: Iterable[str],
    device_files: Mapping[str, Iterable[str]],
    reading: Reading,
    left_out: Sequence[int] = (),
) -> bytes:
    """The index in Markdown.

    `joint` are the file names of the report's own folder. `device_files` maps the relative path of
    a device's folder to its file names. `left_out` are the paper's tables without a measured
    network.
    """
    names = set(joint)
    latest = [each for each in every if each.latest]
    parts = ["# Report", to_markdown_table(pd.DataFrame([_line(each) for each in latest]))]
    parts += [f"![{ABOUT[name]}]({name})" for name in PICTURES if name in names]
    parts.append("## All devices\n\n" + "\n".join(_links(names)))
    for (way, files), device in zip(device_files.items(), latest, strict=True):
        lines = "\n".join(_links(set(files), "" if way == "." else f"{quote(os.fsencode(way))}/"))
        parts += [f"## {markdown(device.label)}", describe(device.environment)]
        parts += [lines] * bool(lines)
    unread = [f"- {markdown(warning)}" for warning in reading.shown]
    if missing := [*_notes(every), *_left_out(left_out, names), *unread]:
        parts.append("## What is missing or doubtful\n\n" + "\n".join(missing))
    counted = "\n".join(f"- {markdown(tally)}." for tally in reading.tallies)
    parts.append(f"## Lines of the results\n\n{counted}")
    return ("\n\n".join(parts) + "\n").encode()


def stale_files(written: Iterable[Path]) -> list[Path]:
    """Files of an earlier report: in the folders of `written`, named like a page, not rewritten."""
    new = set(written)
    folders = sorted({path.parent for path in new})
    present = [path for folder in folders for path in sorted(folder.iterdir())]
    return [path for path in present if _is_of_report(path.name) and path not in new]


def _is_of_report(name: str) -> bool:
    stem, _, kind = OF_WIDTH.sub("", OF_BATCH.sub("", name)).partition(".")
    return stem in STEMS and kind in KINDS


def _line(device: DeviceResults) -> dict[str, str]:
    levels = Counter(row.verdict.level for row in device.every if row.verdict)
    verdicts = ", ".join(f"{count} {level}" for level, count in levels.most_common())
    return {
        "Device": markdown(device.label),
        "Cases": str(len(device.every)),
        "Failed": str(sum(row.failure is not None for row in device.every)),
        "Verdicts": verdicts or NOTHING,
        "Profiles": str(sum(bool(known.rounds) for known in device.profiles)),
    }


def _links(names: set[str], way: str = "") -> Iterator[str]:
    """One line per page in `names`, with links to its other formats; `way` is a path prefix."""
    plain = {name: OF_BATCH.sub("", name) for name in sorted(names)}
    batches = {name: ABOUT[base] for name, base in plain.items() if name != base in ABOUT}
    for name, about in {**ABOUT, **batches}.items():
        if name in names:
            stem = OF_WIDTH.sub("", name).partition(".")[0]
            alike = [n for n in names if OF_WIDTH.sub("", n).partition(".")[0] == stem]
            others = sorted(other for other in alike if other != name)
            also = [f"[{other.removeprefix(stem)[1:]}]({way}{other})" for other in others]
            yield f"- [{name}]({way}{name}): {about}" + f" ({', '.join(also)})" * bool(also)


def _notes(every: Sequence[DeviceResults]) -> Iterator[str]:
    for device in every:
        for note in device.notes:
            yield f"- {markdown(device.label)}: {markdown(note)}"


def _left_out(numbers: Sequence[int], written: Container[str]) -> Iterator[str]:
    """How to get the tables of the paper that are not in the report, and the claims."""
    if not numbers:
        return
    *most, last = map(str, numbers)
    tables = f"Tables {', '.join(most)} and {last}" if most else f"Table {last}"
    suites = ", ".join(f"`--suite table{number}`" for number in numbers)
    claims = " and the claims" * ("claims.md" not in written)
    yield (
        f"- {tables}{claims} of the paper are left out: none of their networks was measured in "
        f"the setting of the table. Measure them with `bench run` and {suites}, or write them "
        "without our numbers: `bench report --paper`."
    )
