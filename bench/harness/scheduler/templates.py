"""The template processes of a round: one for each environment that its cases start in.

Most allocators are set up in the child. A library replaces malloc only in a process that starts
with it, so the cases of that allocator are forked from a template of their own. So are those that
time the start of a process: their template imports no packages. The children of all templates take
turns with each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from bench.devices import DEVICES, allocators, huge_pages
from bench.harness.scheduler.template import Template
from bench.records import Case
from bench.records.scenario import COLD

# The variables of a template, and whether it has imported nothing
Key = tuple[frozenset[tuple[str, str]], bool]


class Templates:
    """The templates for `cases`, which have one device. A context manager; its exit kills them."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._stack = contextlib.ExitStack()
        self._templates: dict[Key, Template] = {}
        with self._stack:  # ends those that started, if another one does not start
            for case in cases:
                if (key := _key(case)) not in self._templates:
                    variables, is_cold = key
                    started = Template(case.device, dict(variables), imports=not is_cold)
                    self._templates[key] = self._stack.enter_context(started)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Templates:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, case: Case) -> Template:
        """Return the template that forks the children of `case`."""
        return self._templates[_key(case)]


def variables(case: Case) -> dict[str, str]:
    """Return the variables that a process of `case` must start with, besides those of the shell."""
    driver = DEVICES[case.device]
    if not (driver.runs_torch and driver.uses_malloc):
        return {}
    return allocators.variables(case.allocator) | huge_pages.variables(case.huge_pages)


def _key(case: Case) -> Key:
    return frozenset(variables(case).items()), case.when.kind == COLD
