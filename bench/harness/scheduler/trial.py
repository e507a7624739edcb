"""Builds the networks of a dry run, each in a process of its own, to tell which would fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.devices import DEVICES
from bench.harness.protocol.messages import Trial, Tried
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.template import Template
from bench.records import Case, Source
from bench.text import without_paths

DEADLINE_S = 120.0
AT_ONCE = 2  # networks in memory

Network = tuple[str, str, int, str]  # model, form, resolution, input


def failing(cases: Sequence[Case], sources: Mapping[str, Source]) -> dict[Case, str]:
    """Return the cases whose network cannot be built, with the reason.

    A simulated device builds no network, so nothing fails there.
    """
    networks: dict[Network, Case] = {}
    for case in cases:
        if DEVICES[case.device].runs_torch:
            networks.setdefault(_network(case), case)
    reasons: dict[Network, str] = {}
    if networks:
        with Template(cases[0].device) as template:
            found = list(networks.values())
            for first in range(0, len(found), AT_ONCE):
                several = found[first : first + AT_ONCE]
                tried = _try(template, several, sources)
                reasons |= dict(zip(map(_network, several), tried, strict=True))
    return {case: reason for case in cases if (reason := reasons.get(_network(case), ""))}


def _try(template: Template, cases: Sequence[Case], sources: Mapping[str, Source]) -> list[str]:
    """Return why each network cannot be built; "" if it can."""
    try:
        children = [template.fork(Trial(case, sources.get(case.model))) for case in cases]
        reasons = []
        for child in children:
            try:
                reply = child.answer(DEADLINE_S)
                child.end()
            except CaseError as error:
                reasons.append(without_paths(f"{error.error}: {error.message}"))
            else:
                reasons.append(without_paths(reply.reason) if isinstance(reply, Tried) else "")
        return reasons
    except (CaseError, TemplateDiedError):
        return ["the measuring process was killed"] * len(cases)


def _network(case: Case) -> Network:
    return (case.model, case.form, case.resolution, case.input)
