"""The steps of a first contact, in the order in which they decide most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench.backends import BACKENDS
from bench.devices.precision import PRECISIONS
from bench.diagnostics.hardware import machine, recorded
from bench.diagnostics.hardware.line import Line, impossible
from bench.diagnostics.hardware.measure import GROUPS
from bench.diagnostics.hardware.runs import Means
from bench.models.zoo import ZOO
from bench.records import Case, Chip
from bench.storage.history import History

# One network of each family of the zoo.
FAMILIES = ("resnet50", "mobilenetv3_l", "efficientnet_b3", "deit_s", "convnext_t", "repnext_u3_t")
PROFILED = DISTURBED = "resnet50"
GROUP_S = 120.0
AT_ONCE = 6  # networks that are checked before the clock is read again, on a fast device
FAST_S = 15.0
COMPILED_AT_ONCE = 1
DEFAULT = Case("", "")


class Step(NamedTuple):
    """Some lines that are measured together.

    `needs_s` is how long the step takes at most on a GPU; it does not begin with less time left,
    and it is finished once it has begun. `make` gets the monotonic second at which this call ends,
    and returns the lines.
    """

    name: str
    needs_s: float
    make: Callable[[float], list[Line]]


def of(means: Means, chip: Chip, *, every: bool = False) -> list[Step]:
    """Return the steps; with `every`, also the checks of all forms with every backend."""
    return [
        Step("doctor", 20, lambda _: [machine.doctor(means.findings(), chip.device)]),
        Step("state", 5, lambda _: [machine.state(means.state(), chip)]),
        *(_group(means, group) for group in GROUPS),
        Step("profile", 60, lambda _: [recorded.profile(means.profiled(_case(PROFILED, chip)))]),
        Step("fault", 60, lambda _: [_fault(means, chip)]),
        *_checks(means, chip, every),
    ]


def _group(means: Means, group: str) -> Step:
    return Step(group, GROUP_S, lambda _: means.group(group, GROUP_S))


def _case(
    network: str,
    chip: Chip,
    form: str = "",
    backend: str = DEFAULT.backend,
    precision: str = DEFAULT.precision,
) -> Case:
    form = form or ZOO[network].forms[0]
    return Case(network, form, backend, precision, device=chip.device, threads=chip.threads)


def _fault(means: Means, chip: Chip) -> Line:
    """Time a network alone and beside another process."""
    case = _case(DISTURBED, chip)
    clean = means.timed("clean", case)
    with means.disturbed():
        disturbed = means.timed("disturbed", case)
    for history in (clean, disturbed):
        if history.failure:
            return Line(recorded.FAULT, "FAIL", why=history.failure.message)
    return recorded.fault(clean.rounds[0], disturbed.rounds[0])


def _checks(means: Means, chip: Chip, every: bool) -> Iterator[Step]:
    """Yield all networks as the default, then one of each family in every other combination."""
    yield _check(means, chip, list(ZOO), DEFAULT.backend, DEFAULT.precision)
    combinations = [(backend, precision) for backend in BACKENDS for precision in PRECISIONS]
    for backend, precision in combinations:
        if (backend, precision) != (DEFAULT.backend, DEFAULT.precision):
            yield _check(means, chip, FAMILIES, backend, precision)
    if every:
        for backend, precision in combinations:
            yield _check(means, chip, list(ZOO), backend, precision, all_forms=True)


def _check(
    means: Means,
    chip: Chip,
    networks: Sequence[str],
    backend: str,
    precision: str,
    *,
    all_forms: bool = False,
) -> Step:
    """Return a step that checks `networks`, a few at a time until the time is over."""
    what = "all forms" if all_forms else f"{len(networks)} networks"
    name = f"check of {what}, {backend} {precision}"
    at_once = AT_ONCE if BACKENDS[backend].one_by_one else COMPILED_AT_ONCE
    cases = [
        _case(network, chip, form, backend, precision)
        for network in networks
        for form in (ZOO[network].forms if all_forms else ZOO[network].forms[:1])
    ]

    def make(ends_at: float) -> list[Line]:
        if lack := means.missing(backend, precision):
            return [impossible(name, lack)]
        found: list[History] = []
        longest_s = 0.0
        while len(found) < len(cases):
            began = time.monotonic()
            if began + longest_s > ends_at:
                break
            size = at_once if found and longest_s < FAST_S else 1
            found += means.checked(cases[len(found) : len(found) + size])
            longest_s = max(longest_s, time.monotonic() - began)
        return [recorded.checks(name, cases, found)]

    return Step(name, 30.0 if at_once > 1 else 90.0, make)
