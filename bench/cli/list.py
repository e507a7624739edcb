"""`bench list`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
import typer

from bench import backends, devices, suite
from bench.errors import UnavailableError, unknown
from bench.models import zoo

KINDS = ("models", "forms", "devices", "backends", "suites")


class Entry(NamedTuple):
    """A name as the flags take it, a few words about it, and whether it works here."""

    name: str
    about: str
    available: bool = True


def list_(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the names that the flags of `bench run` take."""
    if kind not in KINDS:
        raise unknown("list", kind, KINDS)
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
        return [*named, Entry("timm/<name>", "plain; any other model of timm")]
    if kind == "forms":
        return [Entry(name, about) for name, about in zoo.FORMS.items()]
    if kind == "devices":
        return [_device(name) for name in (*devices.DEVICES, *devices.ALIASES)]
    if kind == "backends":
        loads = backends.BACKENDS.items()
        return [Entry(name, (load.__doc__ or "").partition("\n")[0]) for name, load in loads]
    return [Entry(name, suite.load(name).title) for name in suite.names()]


def _device(name: str) -> Entry:
    try:
        return Entry(name, devices.select(name)[1].name)
    except UnavailableError as error:
        return Entry(name, f"not available: {error.message}", available=False)
