"""`bench list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from bench import backends, devices, paper
from bench.cli.console import complain, tell, tell_json, tell_page
from bench.devices import allocators, huge_pages, precision
from bench.errors import UnavailableError, UsageError, unknown
from bench.harness import suite
from bench.models import forms, user, zoo
from bench.records.scenario import SCENARIOS
from bench.text import significant

KINDS = (
    *("models", "forms", "devices", "backends", "precisions", "allocators", "huge_pages"),
    *("scenarios", "suites"),
)


class Count(msgspec.Struct, frozen=True):
    """A form of a network of the paper: parameters, and MACs of an image of 224 x 224 pixels."""

    form: str
    params: int
    macs: int


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name that a flag accepts, a description, and whether it works on this machine.

    `counts` has an entry per form of a network of the paper; it is empty for everything else.
    """

    name: str
    about: str
    available: bool
    counts: list[Count] = []


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="[" + "|".join(KINDS) + "]",
            help="What to list; everything but the models of timm if it is left out.",
            autocompletion=lambda: list(KINDS),
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    with_paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="With `models`: show our parameters and MACs next to the paper's."
        ),
    ] = False,
) -> None:
    """List the names that the flags of `bench run` accept."""
    if kind and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    if with_paper:
        if kind != "models" or as_json:
            raise UsageError(
                "--paper works only with `bench list models`, and without --json",
                "Type: bench list models --paper",
            )
        tell_page("\n".join(_paper_lines()))
        return
    found = {each: _entries(each) for each in ([kind] if kind else KINDS)}
    if "models" in found:
        for warning in user.unreadable_packages():
            complain(f"warning: {warning}")
    if as_json:
        tell_json(found[kind] if kind else found, indent=2)
        return
    for number, each in enumerate(found):
        if number:
            tell("")
        for line in _lines(found[each], "" if kind else each):
            tell(line)


def _lines(entries: Sequence[Entry], heading: str) -> list[str]:
    """Return a line per entry; below `heading`, if it is not empty, and then indented."""
    width = max(len(entry.name) for entry in entries)
    lines = [f"{entry.name:<{width}}  {entry.about}".rstrip() for entry in entries]
    return [f"{heading}:", *(f"  {line}" for line in lines)] if heading else lines


def _entries(kind: str) -> list[Entry]:
    if kind == "models":
        named = [_network(spec) for spec in zoo.ZOO.values()]
        named += [_entry(name, "provided by an installed package") for name in user.entry_points()]
        others = (
            "any other timm model; forms train and rrep if it has branches to merge (RepGhost: "
            "also deploy), else plain"
        )
        yours = "your own network: a function that returns it"
        return [*named, _entry("timm/<name>", others), _entry("file.py:factory", yours)]
    if kind == "forms":
        each_stage = "a form for each of the four stages of a RepNeXt, as srep-rrep-rrep-rrep"
        entries = [_entry(name, form.about) for name, form in forms.FORMS.items()]
        return [*entries, _entry("FORM-FORM-FORM-FORM", each_stage)]
    if kind == "devices":
        return [_device(name) for name in (*devices.DEVICES, *devices.ALIASES)]
    if kind == "backends":
        torch_device = devices.torch_device_here()
        return [_backend(name, torch_device) for name in backends.BACKENDS]
    if kind == "precisions":
        return [_entry(name, each.about) for name, each in precision.PRECISIONS.items()]
    if kind == "allocators":
        known = {name: each.about for name, each in allocators.ALLOCATORS.items()}
        return [_memory(name, about, allocators.missing(name)) for name, about in known.items()]
    if kind == "huge_pages":
        known = {name: each.about for name, each in huge_pages.HUGE_PAGES.items()}
        return [_memory(name, about, huge_pages.missing(name)) for name, about in known.items()]
    if kind == "scenarios":
        return [_entry(name, about) for name, about in SCENARIOS.items()]
    return [_entry(name, suite.load(name).title) for name in suite.names()]


def _entry(name: str, about: str) -> Entry:
    return Entry(name, about, available=True)


def _network(spec: zoo.Spec) -> Entry:
    counts = [Count(c.form, c.params, c.macs) for c in paper.counted() if c.model == spec.name]
    return Entry(spec.name, ", ".join(spec.forms), available=True, counts=counts)


def _device(name: str) -> Entry:
    try:
        return _entry(name, devices.select(name)[1].name)
    except UnavailableError as error:
        return Entry(name, f"not available: {error.message}", available=False)


def _backend(name: str, torch_device: str) -> Entry:
    backend = backends.BACKENDS[name]
    if lack := backend.missing(torch_device):
        return Entry(name, f"not available: {lack}", available=False)
    versions = ", ".join(f"{key} {value}" for key, value in backend.versions().items())
    about = backends.about(backend)
    return _entry(name, f"{about.rstrip('.')}: {versions}." if versions else about)


def _memory(name: str, about: str, lack: tuple[str, str] | None) -> Entry:
    if lack is None:
        return _entry(name, about)
    text = ". ".join(filter(None, lack))
    return Entry(name, f"not available: {text}", available=False)


def _paper_lines() -> list[str]:
    """Return the lines of a Markdown table: our counts, the paper's, and why they differ.

    Parameters are in millions, MACs per image in billions.
    """
    lines = [
        "| model | form | timm's name | params (M) | paper | MACs (G) | as ptflops | as thop "
        "| paper | differs |",
        "|:--|:--|:--|--:|--:|--:|--:|--:|--:|:--|",
    ]
    for row in paper.counted():
        spec = zoo.ZOO[row.model]
        params, gmacs = paper.counts_of(row.model, row.form)
        cells = [row.model, row.form, spec.variant if spec.maker == "timm" else ""]
        cells += [significant(row.params / 1e6, 4), "" if params is None else f"{params:g}"]
        cells += [significant(macs / 1e9, 4) for macs in (row.macs, row.as_ptflops, row.as_thop)]
        cells += ["" if gmacs is None else f"{gmacs:g}", _difference(row, params, gmacs)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _difference(row: paper.Counted, params: float | None, gmacs: float | None) -> str:
    """Return why the paper's numbers differ from ours; "" if they do not, or are not known."""
    is_same = params is None or _agrees(row.params / 1e6, params)
    if is_same and (gmacs is None or _agrees(row.macs / 1e9, gmacs)):
        return ""
    if reason := paper.DIFFERENCES.get((row.model, row.form)):
        return reason
    tools = {"ptflops": row.as_ptflops, "thop": row.as_thop}
    agreeing = [tool for tool, macs in tools.items() if gmacs and _agrees(macs / 1e9, gmacs)]
    return f"the paper's MACs follow {' or '.join(agreeing)}" if agreeing else "unknown"


def _agrees(ours: float, printed: float) -> bool:
    """Return whether `ours`, rounded to the decimals of `printed`, equals it."""
    decimals = len(f"{printed:g}".partition(".")[2])
    return round(ours, decimals) == printed
