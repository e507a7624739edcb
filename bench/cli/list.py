"""`bench list`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench import backends, devices, suite
from bench.errors import UnavailableError, unknown
from bench.models import zoo

KINDS = ("models", "forms", "devices", "backends", "suites")


def list_(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the names that the flags of `bench run` take."""
    if kind not in KINDS:
        raise unknown("list", kind, KINDS)
    entries = _entries(kind)
    if as_json:
        print(json.dumps([{"name": name, "about": about} for name, about in entries], indent=2))
        return
    width = max(len(name) for name, _ in entries)
    for name, about in entries:
        print(f"{name:<{width}}  {about}".rstrip())


def _entries(kind: str) -> list[tuple[str, str]]:
    """Each name, and a few words about it."""
    if kind == "models":
        named = [(spec.name, ", ".join(spec.forms)) for spec in zoo.ZOO.values()]
        return [*named, ("timm/<name>", "plain: any other model of timm")]
    if kind == "forms":
        return list(zoo.FORMS.items())
    if kind == "devices":
        named = [(name, _found(device)) for name, device in devices.DEVICES.items()]
        return named + [
            (alias, f"{name}, only if it is one") for alias, name in devices.ALIASES.items()
        ]
    if kind == "backends":
        return [
            (name, (load.__doc__ or "").partition("\n")[0])
            for name, load in backends.BACKENDS.items()
        ]
    return [(name, suite.load(name).title) for name in suite.names()]


def _found(device: devices.Device) -> str:
    try:
        return f"here: {device.identify().name}"
    except UnavailableError as error:
        return f"not available: {error.message}"
