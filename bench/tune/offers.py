"""What this machine offers a tuning: backends, precisions, and settings of a process."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from bench.backends import BACKENDS
from bench.devices import DEVICES
from bench.devices.allocators import ALLOCATORS
from bench.devices.huge_pages import HUGE_PAGES
from bench.errors import BenchError, UnavailableError, UsageError
from bench.harness import grid
from bench.models.forms import mixable
from bench.records import DEFAULT, Case, Chip
from bench.tune.space import Space

EAGER = ("eager", "fp32")


def space(
    forms: Sequence[Case],
    named_backends: Sequence[str] | None,
    precisions: Sequence[str],
    chip: Chip,
    tolerance: float | None,
    *,
    stages: bool = False,
) -> tuple[Space, list[str]]:
    """Return all that can vary on `chip`, and sentences on what cannot be tried here.

    `forms` are cases in eager mode. Without `named_backends`, every backend that works here is
    tried. With `stages`, each stage of the fastest candidate is tried in another form. Raises
    UsageError or UnavailableError for a backend or precision that was named and does not work, and
    UsageError where there is nothing to choose, or no stage with a choice.
    """
    if stages and not mixable([form.form for form in forms]):
        raise UsageError(
            f"no stage of {forms[0].name} may have another form",
            "Leave --stages out: it is for all forms of a RepNeXt or a Shortcut-act.",
        )
    lacking: list[str] = []
    grid.check_settings({"backend": named_backends or (), "precision": precisions}, chip)
    backends = named_backends or _working("backend", BACKENDS, chip, lacking)
    driver = DEVICES[chip.device]
    runtimes = [EAGER]
    for backend, precision in itertools.product(backends, precisions):
        lack = driver.torch_device and BACKENDS[backend].lacks_precision(
            precision, driver.torch_device
        )
        if lack:
            lacking.append(f"{backend} in {precision}: {lack}")
        else:
            runtimes.append((backend, precision))
    if never := [each for each in precisions if each not in {pair[1] for pair in runtimes}]:
        raise UnavailableError(
            f"no backend here computes in {never[0]}: {'; '.join(lacking)}", grid.OTHER_PRECISION
        )
    has_process = driver.uses_malloc
    found = Space(
        tuple(forms),
        tuple(dict.fromkeys(runtimes)),
        tuple(_working("allocator", ALLOCATORS, chip, lacking)) if has_process else (DEFAULT,),
        tuple(_working("huge_pages", HUGE_PAGES, chip, lacking)) if has_process else (DEFAULT,),
        tuple(_threads(forms[0].threads)) if has_process else (forms[0].threads,),
        tolerance,
        stages,
    )
    if not found.has_choice:
        raise UsageError(
            f"nothing to choose for {forms[0].name}: it has one form, and one way to run",
            "Name more backends or precisions, or leave --backend out.",
        )
    return found, lacking


def versions(runtimes: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Return the versions of each backend, by package, for all precisions in which it is tried."""
    found: dict[str, dict[str, str]] = {}
    for backend, precision in runtimes:
        found.setdefault(backend, {}).update(BACKENDS[backend].versions(precision))
    return found


def _working(key: str, names: Iterable[str], chip: Chip, lacking: list[str]) -> list[str]:
    """Return the names that work here, DEFAULT first; append to `lacking` why others do not."""
    found = []
    for name in names:
        try:
            grid.check_settings({key: (name,)}, chip)
        except BenchError as error:
            lacking.append(error.message)
        else:
            found.append(name)
    return sorted(found, key=lambda name: name != DEFAULT)


def _threads(usable: int) -> list[int]:
    """Return `usable`, then the powers of two below it."""
    return [usable, *(2**power for power in range(usable.bit_length()) if 2**power < usable)]
