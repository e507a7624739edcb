"""Completions of the command line: what a shell offers after the Tab key. Imports no torch.

Each function imports what it names, since every command imports this module to declare its flags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from bench.errors import BenchError
from bench.harness.plan import PRESETS
from bench.records.scenario import SCENARIOS
from bench.records.workload import WORKLOADS

Names = Callable[[str], Iterable[str]]


def last_of_list(names: Names) -> Callable[[str], list[str]]:
    """Return a function that completes the last name of a list: `a,re` gives `a,resnet50` etc.

    `names` returns the valid names; its argument is the incomplete name.
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [before + comma + name for name in names(last) if name.startswith(last)]

    return complete


def models(start: str) -> list[str]:
    """Return the names of models; after `model@` its forms, after `timm/` the models of timm."""
    from bench.models import forms, user, zoo
    from bench.paper import accuracy

    name, at, _ = start.partition("@")
    if at:
        known = zoo.ZOO[name].forms if name in zoo.ZOO else forms.FORMS
        return [f"{name}@{form}" for form in known]
    if start.startswith(zoo.TIMM_PREFIX):
        return [zoo.TIMM_PREFIX + each for each in accuracy.timm_names()]
    return [*zoo.ZOO, *user.entry_points(), zoo.TIMM_PREFIX]


def suites() -> list[str]:
    """Return the names of the suites that ship with `bench`."""
    from bench.harness import suite

    return suite.names()


def backends(_: str) -> list[str]:
    """Return the names of the backends."""
    from bench.backends import BACKENDS

    return list(BACKENDS)


def precisions(_: str) -> list[str]:
    """Return the names of the precisions."""
    from bench.devices.precision import PRECISIONS

    return list(PRECISIONS)


def allocators(_: str) -> list[str]:
    """Return the names of the allocators."""
    from bench.devices.allocators import ALLOCATORS

    return list(ALLOCATORS)


def huge_pages(_: str) -> list[str]:
    """Return the names of the settings of huge pages."""
    from bench.devices.huge_pages import HUGE_PAGES

    return list(HUGE_PAGES)


def scenarios(_: str) -> list[str]:
    """Return the scenarios; those with an amount have an example."""
    return list(SCENARIOS)


def workloads(_: str) -> list[str]:
    """Return the names of the workloads."""
    return list(WORKLOADS)


def devices() -> list[str]:
    """Return the names of the devices, and their aliases."""
    from bench.devices import ALIASES, DEVICES

    return [*DEVICES, *ALIASES]


def presets() -> list[str]:
    """Return the names of the presets."""
    return list(PRESETS)


def recorded_cases(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the cases on record in the folder that --in names; [] without records.

    A name that cannot be typed is left out: the shell would print it as it is.
    """
    from bench.analysis.recorded import latest

    folder = context.params.get("folder") or context.params.get("out")
    try:
        names = [case.name for each in latest(Path(str(folder))) for case in each.cases]
    except BenchError:
        return []
    return [name for name in dict.fromkeys(names) if _is_offered(name, incomplete)]


def _is_offered(name: str, incomplete: str) -> bool:
    return name.startswith(incomplete) and name.isprintable()
