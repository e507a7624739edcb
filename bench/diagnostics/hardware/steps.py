"""The steps of a first contact, in the order in which they decide most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench.backends import BACKENDS
from bench.devices.precision import PRECISIONS
from bench.diagnostics.hardware import machine, recorded
from bench.diagnostics.hardware.call import Call, TimeOverError
from bench.diagnostics.hardware.line import Line, failure, impossible
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
DEFAULT = Case("", "")


class Step(NamedTuple):
    """Some lines that are measured together.

    `needs_s` is how long the step takes at most on a GPU; it does not begin with less time left.
    After `most_s` it is stopped, and failed. `make` gets the call, and returns the lines.
    """

    name: str
    needs_s: float
    make: Callable[[Call], list[Line]]
    most_s: float = 240.0


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
    return Step(group, GROUP_S, lambda _: means.group(group))


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
            return failure(recorded.FAULT, history.failure.message)
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
    """Return a step that checks `networks` with a backend, or says what the device lacks for it."""
    what = "all forms" if all_forms else f"{len(networks)} networks"
    name = f"check of {what}, {backend} {precision}"
    at_once, needs_s = (AT_ONCE, 30.0) if BACKENDS[backend].one_by_one else (1, 90.0)
    if lack := means.missing(backend, precision):
        return Step(name, 0.0, lambda _: [impossible(name, lack, next_call="repeats")])
    cases = [
        _case(network, chip, form, backend, precision)
        for network in networks
        for form in (ZOO[network].forms if all_forms else ZOO[network].forms[:1])
    ]

    def make(call: Call) -> list[Line]:
        return [recorded.checks(name, cases, _checked(means, cases, call, needs_s, at_once))]

    return Step(name, needs_s, make, math.inf)


def _checked(
    means: Means, cases: Sequence[Case], call: Call, needs_s: float, at_once: int
) -> list[History]:
    """Check cases without a result, then those that failed, as long as the call lasts.

    The first case needs `needs_s`; later ones need as long as the slowest one took. If they are
    fast, `at_once` are checked before the clock is read again.
    """
    found = dict(zip(cases, means.recorded(cases), strict=True))
    todo = [case for case in cases if not found[case].rounds and not found[case].failure]
    todo += [case for case in cases if found[case].failure]
    slowest_s = 0.0
    while todo:
        piece = todo[: at_once if 0 < slowest_s < FAST_S else 1]
        if not call.has(len(piece) * slowest_s or needs_s):
            break
        began = call.now()
        try:
            found |= zip(piece, means.checked(piece), strict=True)
        except TimeOverError:  # the estimate was too low
            return means.recorded(cases)
        slowest_s = max(slowest_s, (call.now() - began) / len(piece))
        del todo[: len(piece)]
    return list(found.values())
