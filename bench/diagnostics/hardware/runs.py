"""The means of a first contact on a real device: processes, runs with stores, and the sensors."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.analysis.profile.recorded import ProfileHistory
from bench.backends import BACKENDS
from bench.devices import Driver
from bench.diagnostics import doctor
from bench.diagnostics.hardware import met
from bench.diagnostics.hardware.disturb import disturbed
from bench.diagnostics.hardware.line import Line, failure
from bench.diagnostics.selfcheck import RoundLog
from bench.errors import starting
from bench.harness.plan import PRESETS
from bench.harness.scheduler import profiler, runner
from bench.harness.scheduler.environment import describe, is_outdated_for
from bench.process import command_for_module
from bench.records import Case, Chip, Environment
from bench.storage.history import History
from bench.storage.results import Store

TRACES = "traces"
PROFILE_S = 6.0
DEADLINE_S = 240.0  # of a child that checks and sends nothing; a compiler may need minutes
CHECK = PRESETS["quick"].exactly(
    rounds=1,
    observe_s=0.0,
    timed_s=0.02,
    block_s=0.02,
    warmup_s=0.02,
    min_samples=1,
    deadline_s=DEADLINE_S,
)
ROUND = PRESETS["quick"].exactly(rounds=1, observe_s=0.0, timed_s=2.0)

Facts = Mapping[str, str | int | float | None]


class Means(NamedTuple):
    """What the steps call; tests replace each by a stand-in.

    - `findings`: what doctor says. `state`: the state of the idle device.
    - `group`: the lines of a group of `measure.GROUPS`. `recorded`: the checks on record.
    - `checked`: checks cases, and failed ones again. `timed`: times a case, for a part of that
      name.
    - `profiled`: profiles a case. `disturbed`: lets another process compute.
    - `missing`: why a backend or a precision is absent.
    """

    findings: Callable[[], Sequence[doctor.Finding]]
    state: Callable[[], Facts]
    group: Callable[[str], list[Line]]
    recorded: Callable[[Sequence[Case]], list[History]]
    checked: Callable[[Sequence[Case]], list[History]]
    timed: Callable[[str, Case], History]
    profiled: Callable[[Case], ProfileHistory]
    disturbed: Callable[[], AbstractContextManager[None]]
    missing: Callable[[str, str], str | None]


def real(driver: Driver, chip: Chip, folder: Path, say: Callable[[str], None]) -> Means:
    """Return the means on the device of `driver`; stores and traces lie below `folder`."""
    runs = _Runs(driver, chip, folder, say)

    def missing(backend: str, precision: str) -> str | None:
        executes, on = BACKENDS[backend], driver.torch_device
        lack = executes.missing(on) or driver.missing_precision(precision, chip)
        return lack or executes.lacks_precision(precision, on)

    return Means(
        findings=doctor.examine,
        state=driver.state,
        group=lambda group: _in_process(driver.name, group),
        recorded=runs.recorded,
        checked=runs.checked,
        timed=runs.timed,
        profiled=runs.profiled,
        disturbed=lambda: disturbed(driver),
        missing=missing,
    )


def _in_process(device: str, group: str) -> list[Line]:
    command = command_for_module("bench.diagnostics.hardware.measure", device, group)
    with starting(f"a process that measures {group}"):
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return [failure(group, last or f"its process ended with {done.returncode}")]
    try:
        return msgspec.json.decode(done.stdout, type=list[Line])
    except msgspec.DecodeError as error:  # ValidationError is one, too
        return [failure(group, f"its process did not answer with lines: {error}")]


class _Runs:
    """Ordinary runs, each with a store below the folder of the first contact."""

    def __init__(
        self, driver: Driver, chip: Chip, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._driver = driver
        self._chip = chip
        self._folder = folder
        self._say = say

    def recorded(self, cases: Sequence[Case]) -> list[History]:
        """Return the checks on record, without running any."""
        store, environment = self._opened("checks")
        with contextlib.closing(store):
            found = [store.history(case, environment.environment_id) for case in cases]
        both = zip(cases, found, strict=True)
        return [History([], None) if is_outdated_for(*each) else each[1] for each in both]

    def checked(self, cases: Sequence[Case]) -> list[History]:
        """Build and check the cases that have no round on record."""
        store, environment = self._opened("checks")
        log = RoundLog("checks", self._say)
        with contextlib.closing(store):
            runner.run(cases, CHECK, store, environment, log, retry_failed=True)
            return [store.history(case, environment.environment_id) for case in cases]

    def timed(self, part: str, case: Case) -> History:
        """Time one new round of a case in the store of `part`."""
        store, environment = self._opened(part)
        with contextlib.closing(store):
            log = RoundLog(part, self._say)
            runner.run([case], ROUND, store, environment, log, again=True)
            return store.history(case, environment.environment_id)

    def profiled(self, case: Case) -> ProfileHistory:
        """Profile a case, and keep the traces, without names of the machine and its user."""
        store, environment = self._opened("profile")
        traces = self._folder / TRACES
        with contextlib.closing(store):
            try:
                (history,) = profiler.profile(
                    [case], PROFILE_S, store, environment, lambda _: None, traces=traces
                )
            finally:
                met.clean_traces(traces)
        return history

    def _opened(self, part: str) -> tuple[Store, Environment]:
        command = "bench selfcheck --hardware"
        environment = describe(self._driver, self._chip, runner.new_run_id(), command)
        store = Store(self._folder / part)
        store.open()
        return store, environment
