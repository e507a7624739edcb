"""The two protocols of a device: `Driver`, what the parent asks, and `Session`, the child's clock.

A driver holds no state: it may be asked at any time. A session belongs to one case in one child.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from bench.devices.clocks import Moment
from bench.devices.kernels import Kernels, PeakWork
from bench.devices.sensors.sensor import Memory, Sensor
from bench.records import Case, Chip, Reading, Setting, Stage

Kind = Literal["cpu", "gpu", "edge", ""]


class Speed(NamedTuple):
    """A guess of how fast a device is, for the time left of cases that nobody has measured yet.

    An iteration takes call_s + batch * macs / (rate * threads), where the rate is `macs_per_s` or,
    from batch 16 on, `macs_per_s_large`; threads count only where the rate is `per_thread`.
    """

    macs_per_s: float
    macs_per_s_large: float
    call_s: float = 0.0
    per_thread: bool = False


class Script(Protocol):
    """What a simulated device does in place of a network, of a fault and of the machine's clocks.

    Only devices that run no network have one.
    """

    def entered(self, stage: Stage) -> None:
        """The case enters a stage; may raise or end the process."""

    def network(self, case: Case, round_number: int) -> Callable[[], object]:
        """A call that stands for one inference of `case` in the process of that round."""

    def check(self) -> None:
        """Raise where the output of the network would be wrong."""

    def moment(self) -> Moment:
        """The simulated clocks of the machine, now."""

    def pause(self, seconds: float) -> None:
        """Sleep for real after a block, so that tests can interrupt a run."""


class Session(Protocol):
    """What a child times one case with.

    `has_queue` says that a call returns before its work is done. `peak_work` is the work that
    shows what the device reaches at best. `script` is None on every device that runs networks.
    """

    torch_device: str
    has_queue: bool
    peak_work: PeakWork
    script: Script | None

    def now(self) -> float:
        """Wait for queued work, then read a monotonic clock: seconds."""

    def kernels(self) -> Kernels:
        """The calibration kernels, ready to be called; their memory is part of no peak."""

    def sense(self) -> Reading:
        """The state of the machine; called before and after a timed block, never inside one."""

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """Seconds of each call by the chip's own clock, calls queued in a row; [] without queue."""

    def sensor(self) -> Sensor | None:
        """The sensor to read during the steady loop; None where the device has none."""

    def settings(self) -> dict[str, Setting]:
        """Switches that change the speed, as they stand in this process."""

    def reset_peak_memory(self) -> None:
        """Forget the peak so far."""

    def memory(self) -> Memory:
        """What is held, and the most that was held since the reset."""


class Driver(Protocol):
    """What the parent asks of a device, before and between children.

    `kind` is the paper's kind of device, "" for one that is none of these. `torch_device` is what
    torch calls it, "" where `runs_torch` is False: such a device simulates, and its time is
    scripted. `is_shared` says that several runs may use it at once. `clock_follows_load` says that
    a changing clock is how the chip works, not a fault. `own_models` are names of models that
    exist on this device only.
    """

    name: str
    kind: Kind
    torch_device: str
    runs_torch: bool
    has_queue: bool
    is_shared: bool
    clock_follows_load: bool
    speed: Speed
    own_models: Container[str]

    def identify(self) -> Chip:
        """What the chip is, without touching it. Raises UnavailableError where there is none."""

    def prove(self, chip: Chip) -> None:
        """Raise UnavailableError unless torch computes correctly on the chip."""

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """Why the chip cannot compute in that precision; None where it can."""

    def state(self) -> dict[str, str | int | float | None]:
        """What may change from minute to minute; None where it cannot be read."""

    def free_bytes(self) -> int | None:
        """Memory that networks may still take, or None where that is not known."""

    def foreign_processes(self) -> int | None:
        """How many processes of others compute on the chip while no child of ours lives.

        None where that is not known.
        """

    def preload(self) -> None:
        """Import what measuring needs; start no thread and touch no chip: forks follow."""

    def session(self, case: Case) -> AbstractContextManager[Session]:
        """In a child: set the case's threads and precision, and open what times it."""
