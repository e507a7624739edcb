"""Builds the networks of a dry run, each in a process of its own, to tell which would fail."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from bench.devices import DEVICES
from bench.harness.protocol.messages import Trial, Tried
from bench.harness.scheduler.answers import answers
from bench.harness.scheduler.child import CaseError
from bench.records import Case, Source
from bench.text import without_paths

AT_ONCE = 2  # networks in memory

Network = tuple[str, str, int, str]  # model, form, resolution, input


def failing(
    cases: Sequence[Case], sources: Mapping[str, Source], built: Container[Case] = ()
) -> dict[Case, str]:
    """Return the cases whose network cannot be built, with the reason.

    The networks of the cases `built` are not built again. A simulated device builds no network, so
    nothing fails there.
    """
    networks: dict[Network, Case] = {}
    for case in cases:
        if DEVICES[case.device].runs_torch and case not in built:
            networks.setdefault(_network(case), case)
    if not networks:
        return {}
    questions = [Trial(case, sources.get(case.model)) for case in networks.values()]
    found = answers(cases[0].device, questions, AT_ONCE)
    reasons = dict(zip(networks, map(_reason, found), strict=True))
    return {case: reason for case in cases if (reason := reasons.get(_network(case), ""))}


def _reason(answer: object) -> str:
    """Return why a network cannot be built; "" if it can."""
    if answer is None:
        return "the measuring process was killed"
    if isinstance(answer, CaseError):
        return without_paths(f"{answer.error}: {answer.message}")
    return without_paths(answer.reason) if isinstance(answer, Tried) else ""


def _network(case: Case) -> Network:
    return (case.model, case.form, case.resolution, case.input)
