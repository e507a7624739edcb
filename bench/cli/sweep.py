"""What `bench run` and `bench profile` do around their work: locks, signals, proof, conclusion."""

from __future__ import annotations

import contextlib
import functools
import shlex
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bench.cli.choice import Choice
from bench.cli.console import say
from bench.cli.messages import failed
from bench.cli.versions import change
from bench.errors import CASE_FAILED, InterruptedRunError
from bench.records import Case, Chip, Environment, Failure
from bench.storage import lock
from bench.storage.results import Store


class Sweep(NamedTuple):
    """The cases to work on, the store that takes their records, the console for progress."""

    choice: Choice
    store: Store
    console: Console
    retry_failed: bool

    @property
    def cases(self) -> list[Case]:
        """The cases to work on."""
        return self.choice.cases

    @property
    def environment(self) -> Environment:
        """Where they are measured."""
        return self.choice.environment

    @property
    def chip(self) -> Chip:
        """What they are measured on."""
        return self.choice.environment.chip

    def of(self, cases: list[Case]) -> Sweep:
        """The same sweep for other cases."""
        return self._replace(choice=self.choice._replace(cases=cases))


def sweep_of(choice: Choice, out: Path, console: Console, *, retry_failed: bool) -> Sweep:
    """A sweep that writes into the folder of the chip below `out`."""
    store = Store(out / choice.environment.chip.slug)
    return Sweep(choice, store, console, retry_failed)


@contextlib.contextmanager
def alone(sweep: Sweep, *, wait: bool) -> Iterator[Sweep]:
    """Hold the device's lock and the store's, with the store open; yield the sweep to do.

    With `wait`, wait for another run that holds a lock, and describe the machine again afterwards;
    without it, raise UsageError that names the other run. From here on SIGTERM has the effect of
    Ctrl-C: the body ends with InterruptedRunError.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    on_wait = functools.partial(say, sweep.console) if wait else None
    device = lock.device(sweep.chip, on_wait, is_shared=sweep.choice.driver.is_shared)
    with device, contextlib.closing(sweep.store):
        sweep.store.open(on_wait)
        if wait:
            sweep = sweep._replace(choice=sweep.choice.described_anew())
        for warning in sweep.store.warnings:
            say(sweep.console, f"warning: {warning}")
        if changed := change(sweep.store.environments(), sweep.environment):
            say(sweep.console, changed)
        try:
            yield sweep
        except KeyboardInterrupt:
            raise InterruptedRunError(sweep.store.path) from None


def start(sweep: Sweep, heading: str, *, needs_device: bool) -> None:
    """Prove that the device computes correctly, then print the heading.

    Raises UnavailableError if the proof fails. Where no case needs the device there is no proof.
    """
    if needs_device:
        sweep.choice.driver.prove(sweep.chip)
    say(sweep.console, f"{heading} on {sweep.chip.name}, into {sweep.store.path}")


def conclude(sweep: Sweep, failures: Sequence[Failure], out: Path) -> int:
    """List the failures, the file of results and the next command; return the exit code."""
    for failure in failures:
        say(sweep.console, failed(failure))
    if failures:
        say(sweep.console, "again:   add --retry-failed to try the failed cases again")
    say(sweep.console, f"results: {sweep.store.path}")
    say(sweep.console, f"next:    bench report {shlex.quote(str(out))}")
    return CASE_FAILED if failures else 0


def count(cases: Sequence[Case]) -> str:
    """`1 case`, `2 cases`."""
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"


def _interrupt(*_: object) -> None:
    """End the run. A second signal, as `timeout` sends it, must not end the tidying up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
