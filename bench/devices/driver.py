"""The two protocols of a device: `Driver` for the parent, and `Session` for a child process.

A driver has no state, so the parent can call it at any time. A session times one case in one
child.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from bench.devices.clocks import Moment
from bench.devices.kernels import Kernels, PeakWork
from bench.devices.sensors.sensor import Memory, Sensor
from bench.records import Case, Chip, Reading, Setting, Stage

Kind = Literal["cpu", "gpu", "edge", ""]


class Speed(NamedTuple):
    """A rough speed of a device, to estimate the time of cases that were never measured.

    seconds of an iteration = call_s + batch * macs / (rate * threads)

    The rate is `macs_per_s`, and from batch 16 on `macs_per_s_large`. Without `per_thread`, the
    number of threads counts as 1.
    """

    macs_per_s: float
    macs_per_s_large: float
    call_s: float = 0.0
    per_thread: bool = False


class Script(Protocol):
    """Simulates networks, faults and clocks of the machine, on a device that runs no network."""

    def entered(self, stage: Stage) -> None:
        """Called when the case enters a stage; may raise, or end the process."""

    def network(self, case: Case, round_number: int) -> Callable[[], object]:
        """Return a function that simulates one inference of `case` in the given round."""

    def cold_start(self, case: Case, round_number: int) -> Mapping[str, float]:
        """Return the seconds of each part of the start of a process of `case`, by name."""

    def check(self) -> None:
        """Raise if the simulated output is wrong."""

    def moment(self) -> Moment:
        """Read the simulated clocks of the machine."""

    def rest(self, seconds: float) -> None:
        """Let simulated time pass, as a sleep does on the other devices."""

    def pause(self, seconds: float) -> None:
        """Sleep in real time after a block, so that tests can interrupt a run."""


class Session(Protocol):
    """The interface to a device in a child process that times one case.

    `has_queue`: a call returns before its work is done. `peak_work`: the work that measures the
    peak rates of the device. `script`: None on every device that runs networks.
    """

    torch_device: str
    has_queue: bool
    peak_work: PeakWork
    script: Script | None

    def now(self) -> float:
        """Wait for all queued work, then return a monotonic clock in seconds."""

    def kernels(self) -> Kernels:
        """Return the calibration kernels; their memory does not count in any peak."""

    def sense(self) -> Reading:
        """Read the state of the machine. Called before and after a timed block, never inside."""

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """Queue `iterations` calls, then return the seconds of each by the chip's own clock.

        Returns an empty list on a device without a queue.
        """

    def sensor(self) -> Sensor | None:
        """Return the sensor to read during the steady loop; None if the device has none."""

    def settings(self) -> dict[str, Setting]:
        """Return the current values of switches that change the speed, in this process."""

    def threads_used(self, threads: int) -> float | None:
        """Return how many threads of the CPU compute where there is work for `threads`.

        None on a device whose speed does not depend on it, or where it is unknown.
        """

    def free_memory(self) -> None:
        """Return the memory that a check of the backend has used; its peak counts no longer."""

    def reset_peak_memory(self) -> None:
        """Start a new measurement of the peak memory."""

    def memory(self) -> Memory:
        """Return the memory in use, and its peak since `reset_peak_memory`."""


class Driver(Protocol):
    """The interface to a device in the parent process, before and between children.

    - `kind`: the paper's kind of device, or "" for another kind.
    - `torch_device`: torch's name of the device; "" if `runs_torch` is False.
    - `runs_torch`: False for a simulated device, whose time is scripted.
    - `has_queue`: a call returns before its work is done.
    - `is_shared`: several runs may use the device at once.
    - `clock_follows_load`: the clock of the chip changes with its load, which is no fault.
    - `uses_malloc`: networks get their memory from malloc of their process, so that a case may
      name an allocator and huge pages.
    - `own_models`: names of models that exist on this device only.
    """

    name: str
    kind: Kind
    torch_device: str
    runs_torch: bool
    has_queue: bool
    is_shared: bool
    clock_follows_load: bool
    uses_malloc: bool
    speed: Speed
    own_models: Container[str]

    def identify(self) -> Chip:
        """Describe the chip, without computing on it.

        Raises UnavailableError, with a remedy, if this machine has no such chip.
        """

    def prove(self, chip: Chip) -> None:
        """Raise UnavailableError unless torch computes correctly on the chip."""

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """Return why the chip cannot compute in the precision `name`; None if it can."""

    def state(self) -> dict[str, str | int | float | None]:
        """Return the current state; a value that cannot be read is None."""

    def free_bytes(self) -> int | None:
        """Return the bytes of memory that are free for networks; None if unknown."""

    def most_children(self) -> int:
        """Return how many processes may compute on the chip at once; `sys.maxsize` for any."""

    def keep_ready(self) -> AbstractContextManager[object]:
        """Keep the chip's driver loaded during a run, so that no case pays for its start."""

    def foreign_processes(self) -> int | None:
        """Return the number of processes on the chip while `bench` has no child there.

        None if unknown.
        """

    def preload(self) -> None:
        """Import modules for children. They are forked later: start no thread, use no chip."""

    def session(self, case: Case) -> AbstractContextManager[Session]:
        """In a child: set threads and precision of the case, and open its session."""


class AlwaysReady:
    """A device that serves any number of processes at once, and whose driver stays loaded."""

    def most_children(self) -> int:
        """Return `sys.maxsize`: any number of processes may compute at once."""
        return sys.maxsize

    def keep_ready(self) -> AbstractContextManager[object]:
        """Do nothing: the driver stays loaded."""
        return contextlib.nullcontext()
