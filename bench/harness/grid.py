"""Whether this machine can measure the values of a grid of cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench import backends
from bench.backends import BACKENDS
from bench.backends.backend import FP32
from bench.devices import DEVICES, allocators, huge_pages
from bench.devices import precision as precisions
from bench.devices.allocators import ALLOCATORS
from bench.devices.huge_pages import HUGE_PAGES
from bench.errors import UnavailableError, UsageError, check_positive, unknown
from bench.records import DEFAULT, Chip, scenario, workload
from bench.records.scenario import TIGHT
from bench.records.workload import TRAIN, WORKLOADS

MAX_CASES = 100_000
OTHER_PRECISION = "Use another --precision, or another --backend."
GRID = (
    *("batch", "resolution", "precision", "backend", "allocator", "huge_pages", "workload"),
    "scenario",
)
LEAST_TO_TRAIN = 2  # images: a BatchNorm of one value has no variance


def check(grid: Mapping[str, Sequence[Any]], networks: int, chip: Chip) -> None:
    """Raise UsageError or UnavailableError for a value that cannot be measured on `chip`."""
    for key, values in grid.items():
        if not values:
            raise UsageError(
                f"nothing to measure: {key} is empty", f"Remove the empty {key}, or give a value."
            )
    count = networks * math.prod(map(len, grid.values()))
    if count > MAX_CASES:
        raise UsageError(
            f"{count} cases are too many", f"Measure at most {MAX_CASES} cases per run."
        )
    check_settings(grid, chip)
    _check_pairs(grid["backend"], grid["precision"], chip)
    if TRAIN in grid["workload"]:
        _check_training(grid, chip)
    for key in ("batch", "resolution"):
        for number in grid[key]:
            check_positive(key, number)


def check_settings(grid: Mapping[str, Iterable[Any]], chip: Chip) -> None:
    """Raise UsageError or UnavailableError for a setting of a process that `chip` cannot have.

    The keys are those of CHECKS; any of them may be missing.
    """
    for key, check_one in CHECKS.items():
        for value in grid.get(key, ()):
            check_one(value, chip)


def _check_backend(name: str, chip: Chip) -> None:
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS, known_as=backends.KNOWN_AS)
    torch_device = DEVICES[chip.device].torch_device
    if torch_device and (lack := BACKENDS[name].missing(torch_device)):
        raise UnavailableError(f"no backend {name} here: {lack}", "Or use another --backend.")


def _check_pairs(names: Sequence[str], precisions: Sequence[str], chip: Chip) -> None:
    """Raise UnavailableError for a precision in which a backend cannot compute."""
    torch_device = DEVICES[chip.device].torch_device
    for name, precision in itertools.product(names, precisions):
        if torch_device and (lack := BACKENDS[name].lacks_precision(precision, torch_device)):
            raise UnavailableError(f"no {precision} with {name} here: {lack}", OTHER_PRECISION)


def _check_training(grid: Mapping[str, Sequence[Any]], chip: Chip) -> None:
    """Raise UsageError for what no training step has."""
    runs_torch = DEVICES[chip.device].runs_torch
    for name in grid["backend"]:
        if runs_torch and not BACKENDS[name].trains:
            able = ", ".join(each for each, backend in BACKENDS.items() if backend.trains)
            raise UsageError(f"{name} does not train networks", f"Use --backend {able}.")
    for name in grid["precision"]:
        if name != FP32:
            raise UsageError(
                f"a training step is measured in {FP32}, not in {name}", f"Use --precision {FP32}."
            )
    if set(grid["scenario"]) != {TIGHT}:
        raise UsageError(
            "training steps are measured one after another",
            "Leave out --scenario, or --workload train.",
        )
    if min(grid["batch"]) < LEAST_TO_TRAIN:
        raise UsageError(
            f"a training step needs at least {LEAST_TO_TRAIN} images", "For example: --batch 32"
        )


def _check_workload(name: str, chip: Chip) -> None:
    if name not in WORKLOADS:
        raise unknown("workload", name, WORKLOADS, known_as=workload.KNOWN_AS)


def _check_scenario(name: str, chip: Chip) -> None:
    if scenario.parse(name) is not None:
        return
    for example in scenario.SCENARIOS:
        kind, dash, amount = example.partition("-")
        if amount and name.lower().startswith(kind + dash):
            raise UsageError(f"invalid scenario {name!r}", f"For example: --scenario {example}")
    raise unknown("scenario", name, scenario.SCENARIOS, known_as=scenario.KNOWN_AS)


def _check_precision(name: str, chip: Chip) -> None:
    if name not in precisions.PRECISIONS:
        raise unknown("precision", name, precisions.PRECISIONS, known_as=precisions.KNOWN_AS)
    if lack := DEVICES[chip.device].missing_precision(name, chip):
        raise UnavailableError(f"no {name} on {chip.name}: {lack}", "Or use another --precision.")


def _check_allocator(name: str, chip: Chip) -> None:
    """Raise an error for an allocator that is unknown or missing, or that the shell replaces."""
    if name not in ALLOCATORS:
        raise unknown("allocator", name, ALLOCATORS, known_as=allocators.KNOWN_AS)
    if not _is_set_here(name, chip, "--allocator"):
        return
    if lack := allocators.missing(name):
        raise _unavailable(f"no allocator {name} here", *lack, "--allocator")
    if brought := allocators.brought(name):
        what, remedy = brought
        raise UsageError(f"no case would have the allocator {name}: {what}", remedy)


def _check_huge_pages(name: str, chip: Chip) -> None:
    if name not in HUGE_PAGES:
        raise unknown("setting of huge pages", name, HUGE_PAGES, known_as=huge_pages.KNOWN_AS)
    if _is_set_here(name, chip, "--huge-pages") and (lack := huge_pages.missing(name)):
        raise _unavailable(f"no huge pages ({name}) here", *lack, "--huge-pages")


def _is_set_here(name: str, chip: Chip, flag: str) -> bool:
    """Whether a process on the device really gets its memory so. Raises UsageError if it cannot."""
    driver = DEVICES[chip.device]
    if name != DEFAULT and not driver.uses_malloc:
        raise UsageError(
            f"{flag} {name} has no effect on {chip.device}: its networks do not use malloc",
            f"Leave out {flag}.",
        )
    return driver.uses_malloc and driver.runs_torch


def _unavailable(what: str, why: str, remedy: str, flag: str) -> UnavailableError:
    ways = [f"{remedy}." if remedy else "", f"Leave out {flag}, or name another."]
    return UnavailableError(f"{what}: {why}", " ".join(filter(None, ways)))


CHECKS = {
    "backend": _check_backend,
    "precision": _check_precision,
    "allocator": _check_allocator,
    "huge_pages": _check_huge_pages,
    "workload": _check_workload,
    "scenario": _check_scenario,
}
