"""What `bench run` and `bench profile` share: locks, signals, the device test, the summary."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bench.cli import interrupts
from bench.cli.choice import Choice
from bench.cli.console import say
from bench.cli.messages import failure_line
from bench.cli.versions import version_change
from bench.errors import CASE_FAILED, InterruptedRunError
from bench.models.labels import on_record
from bench.records import Case, Chip, Environment, Failure
from bench.storage import lock
from bench.storage.results import Store


class Sweep(NamedTuple):
    """The cases to measure, the store for their records, and the console for progress."""

    choice: Choice
    store: Store
    console: Console
    retry_failed: bool
    again: bool = False  # measure anew what is on record

    @property
    def cases(self) -> list[Case]:
        """The cases to measure."""
        return self.choice.cases

    @property
    def environment(self) -> Environment:
        """The environment that the cases are measured in."""
        return self.choice.environment

    @property
    def chip(self) -> Chip:
        """The chip that the cases are measured on."""
        return self.choice.environment.chip

    def with_cases(self, cases: list[Case]) -> Sweep:
        """Return the same sweep with other cases."""
        return self._replace(choice=self.choice._replace(cases=cases))


def sweep_of(
    choice: Choice, out: Path, console: Console, *, retry_failed: bool, again: bool = False
) -> Sweep:
    """Return a sweep whose store is in the folder of the chip below `out`."""
    store = Store(out / choice.environment.chip.slug)
    return Sweep(choice, store, console, retry_failed, again)


@contextlib.contextmanager
def locked(sweep: Sweep, *, wait: bool) -> Iterator[Sweep]:
    """Lock the device and the store, open the store, and yield the sweep.

    If another run holds a lock: with `wait`, wait until it ends, then read the state of the
    machine again; without `wait`, raise UsageError that names the other run. SIGTERM acts like
    Ctrl-C from here on: both end the body with InterruptedRunError.
    """
    interrupts.heed()
    on_wait = functools.partial(say, sweep.console) if wait else None
    device = lock.device(sweep.chip, on_wait, is_shared=sweep.choice.driver.is_shared)
    with device, contextlib.closing(sweep.store):
        sweep.store.open(on_wait)
        if wait:
            sweep = sweep._replace(choice=sweep.choice.with_current_state())
        for warning in sweep.store.warnings:
            say(sweep.console, f"warning: {warning}")
        if changed := version_change(sweep.store.environments(), sweep.environment):
            say(sweep.console, changed)
        try:
            yield sweep
            if sweep.environment.labels.items() - on_record(sweep.store.environments()).items():
                # Nothing was measured, so the environment with the new label is not there yet.
                sweep.store.append(sweep.environment)
        except KeyboardInterrupt:
            raise InterruptedRunError(sweep.store.path, saved=sweep.store.has_grown) from None


def start(sweep: Sweep, heading: str, *, needs_device: bool) -> None:
    """Test that the device computes correctly, then print the heading.

    Raises UnavailableError if it does not. The test is skipped if no case needs the device.
    """
    if needs_device:
        sweep.choice.driver.prove(sweep.chip)
    for note in sweep.choice.notes:
        say(sweep.console, note)
    say(sweep.console, f"{heading} on {sweep.chip.name}, into {sweep.store.path}")


def conclude(sweep: Sweep, failures: Sequence[Failure], out: Path) -> int:
    """Print the failures, the file of results and the next command; return the exit code."""
    for failure in failures:
        say(sweep.console, failure_line(failure))
    if failures:
        say(sweep.console, "again:   add --retry-failed to measure the failed cases again")
    say(sweep.console, f"results: {sweep.store.path}")
    say(sweep.console, f"next:    bench report {shlex.quote(str(out))}")
    return CASE_FAILED if failures else 0


def case_count(cases: Sequence[Case]) -> str:
    """Return the number of cases as text: `1 case`, `2 cases`."""
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"
