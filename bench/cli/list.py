"""`bench list`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
import typer

from bench import backends, devices, paper
from bench.devices import precision
from bench.errors import UnavailableError, UsageError, unknown
from bench.harness import suite
from bench.models import forms, user, zoo
from bench.text import significant

KINDS = ("models", "forms", "devices", "backends", "precisions", "suites")


class Entry(NamedTuple):
    """A name that a flag accepts, a description, and whether it works on this machine."""

    name: str
    about: str
    available: bool = True


def list_(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    with_paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="With `models`: show our parameters and MACs next to the paper's."
        ),
    ] = False,
) -> None:
    """List the names that the flags of `bench run` accept."""
    if kind not in KINDS:
        raise unknown("list", kind, KINDS)
    if with_paper:
        if kind != "models" or as_json:
            raise UsageError(
                "--paper works only with `bench list models`, and without --json",
                "Type: bench list models --paper",
            )
        print("\n".join(_paper_lines()))
        return
    entries = _entries(kind)
    if as_json:
        text = msgspec.json.encode([entry._asdict() for entry in entries])
        print(msgspec.json.format(text, indent=2).decode())
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        print(f"{entry.name:<{width}}  {entry.about}".rstrip())


def _entries(kind: str) -> list[Entry]:
    if kind == "models":
        named = [Entry(spec.name, ", ".join(spec.forms)) for spec in zoo.ZOO.values()]
        named += [Entry(name, "provided by an installed package") for name in user.entry_points()]
        others = (
            "any other timm model; forms train and rrep if it has branches to merge, else plain"
        )
        yours = "your own network: a function that returns it"
        return [*named, Entry("timm/<name>", others), Entry("file.py:factory", yours)]
    if kind == "forms":
        return [Entry(name, form.about) for name, form in forms.FORMS.items()]
    if kind == "devices":
        return [_device(name) for name in (*devices.DEVICES, *devices.ALIASES)]
    if kind == "backends":
        torch_device = devices.torch_device_here()
        return [_backend(name, torch_device) for name in backends.BACKENDS]
    if kind == "precisions":
        return [Entry(name, each.about) for name, each in precision.PRECISIONS.items()]
    return [Entry(name, suite.load(name).title) for name in suite.names()]


def _device(name: str) -> Entry:
    try:
        return Entry(name, devices.select(name)[1].name)
    except UnavailableError as error:
        return Entry(name, f"not available: {error.message}", available=False)


def _backend(name: str, torch_device: str) -> Entry:
    backend = backends.BACKENDS[name]
    if lack := backend.missing(torch_device):
        return Entry(name, f"not available: {lack}", available=False)
    return Entry(name, backends.about(backend))


def _paper_lines() -> list[str]:
    """Return the lines of a Markdown table: our counts, the paper's, and why they differ.

    Parameters are in millions, MACs per image in billions.
    """
    lines = [
        "| model | form | timm's name | params (M) | paper | MACs (G) | paper | differs |",
        "|:--|:--|:--|--:|--:|--:|--:|:--|",
    ]
    for row in paper.counted():
        spec = zoo.ZOO[row.model]
        theirs = paper.counts_of(row.model, row.form)
        pairs = ((row.params / 1e6, theirs[0]), (row.macs / 1e9, theirs[1]))
        differs = any(printed is not None and _differs(ours, printed) for ours, printed in pairs)
        reason = paper.DIFFERENCES.get((row.model, row.form), "unknown why") if differs else ""
        cells = [row.model, row.form, spec.variant if spec.maker == "timm" else ""]
        for ours, printed in pairs:
            cells += [significant(ours, 4), "" if printed is None else f"{printed:g}"]
        lines.append("| " + " | ".join([*cells, reason]) + " |")
    return lines


def _differs(ours: float, printed: float) -> bool:
    """Return whether `ours` differs from `printed`, rounded to the decimals of `printed`."""
    decimals = len(f"{printed:g}".partition(".")[2])
    return round(ours, decimals) != printed
