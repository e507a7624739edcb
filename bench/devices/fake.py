"""A simulated device with a scripted clock: the whole pipeline in seconds, always the same numbers.

A call of a simulated network moves the clock by a time that depends on the case, the round and
the number of the call, and on nothing else. Models called `fault/<kind>` exist on this device
only. Some fail in a way of their own (`faults.py`), so that every kind of Failure can be tested;
the others put the machine in a state that spoils numbers, so that every verdict can be tested.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import re
import time
from collections.abc import Callable, Container, Iterator

from bench.devices.clocks import Moment
from bench.devices.driver import Kind, Script, Speed
from bench.devices.faults import FAULTS, PREFIX, fault_of, suffer
from bench.devices.kernels import CPU_PEAK, Kernels
from bench.devices.sensors.sensor import Memory, Sensor
from bench.records import Case, Chip, Gauges, Reading, Setting, Stage

FORM_FACTORS = {"train": 1.0, "rrep": 0.72, "rrep_fc": 0.8, "srep": 0.55}
PROCESS_SPREAD = 0.03
CALL_SPREAD = 0.02
KERNEL_S = (0.001, 0.002)
JUMPING = {"suspended": (30.0, 30.0), "set_back": (0.0, -3600.0)}  # seconds in all, time of day
JUMP_AT = 4  # the clocks are read twice a block: the fourth reading is at the end of the second
CLOCK_HZ = 3e9
DEVICE_SHARE = 0.9  # of an iteration, by the scripted chip's own clock
POWER_W = 100.0
PLANTED = re.compile(r"self/(\w+)\+(\d+)/\w")  # what selfcheck makes slower by so many per cent


class Fake:
    """The simulated device; needs no torch."""

    name = "fake"
    kind: Kind = ""
    torch_device = ""
    runs_torch = False
    has_queue = True
    is_shared = True
    clock_follows_load = False
    speed = Speed(macs_per_s=35e9, macs_per_s_large=16e9, per_thread=True)
    own_models: Container[str] = frozenset(PREFIX + fault for fault in FAULTS)

    def identify(self) -> Chip:
        """Always here."""
        return Chip(device=self.name, kind=self.kind, name="fake", threads=1, facts={})

    def prove(self, chip: Chip) -> None:
        """It computes nothing."""

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """It simulates every precision."""
        return None

    def state(self) -> dict[str, str | int | float | None]:
        """Always quiet."""
        return {}

    def free_bytes(self) -> int | None:
        """Not known: nothing is held, so there is always room."""
        return None

    def foreign_processes(self) -> int | None:
        """None can be here."""
        return 0

    def preload(self) -> None:
        """Nothing to import."""

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[FakeSession]:
        """A clock that starts at zero."""
        session = FakeSession(fault_of(case.model))
        session.entered("start")
        yield session


class FakeSession:
    """Scripted time, a scripted machine, and a script in place of networks."""

    torch_device = ""
    has_queue = True
    peak_work = CPU_PEAK

    def __init__(self, fault: str = "") -> None:
        self._fault = fault
        self._clock = 0.0
        self._clock_hz = CLOCK_HZ
        self._looked = 0
        self.script: Script | None = self

    # --- what every session has ---

    def now(self) -> float:
        """Scripted seconds."""
        return self._clock

    def kernels(self) -> Kernels:
        """Calls that take the same scripted time each."""
        return Kernels(*(functools.partial(self._pass, seconds) for seconds in KERNEL_S))

    def sense(self) -> Reading:
        """A machine that does nothing else, unless the fault says so."""
        if self._fault == "blind":
            missing = dict.fromkeys(("busy_cpu_s", "stolen_cpu_s"), "scripted fault")
            return Reading(at_s=self._clock, missing=missing)
        if self._fault == "clock":
            self._clock_hz *= 0.8
        others = {"hog": 0.5}.get(self._fault, 0.0)
        stolen = {"steal": 0.3}.get(self._fault, 0.0)
        throttled = {"quota": 0.2}.get(self._fault, 0.0)
        return Reading(
            at_s=self._clock,
            cpus=1,
            own_cpu_s=self._clock,
            busy_cpu_s=self._clock * (1 + others),
            stolen_cpu_s=self._clock * stolen,
            throttled_s=self._clock * throttled,
            throttled_periods=int(self._clock * throttled * 10),
            clock_hz=self._clock_hz,
        )

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """A fixed share of what the host sees."""
        times = []
        for _ in range(iterations):
            started = self._clock
            call()
            times.append(DEVICE_SHARE * (self._clock - started))
        return times

    def sensor(self) -> Sensor | None:
        """A sensor on the scripted clock."""
        return FakeSensor(self.now, self._clock_hz)

    def settings(self) -> dict[str, Setting]:
        """There are no switches."""
        return {}

    def reset_peak_memory(self) -> None:
        """Nothing is held."""

    def memory(self) -> Memory:
        """Not known of a network that does not exist."""
        return Memory()

    # --- the script ---

    def entered(self, stage: Stage) -> None:
        """Fail, if the fault belongs to this stage."""
        suffer(self._fault, stage)

    def network(self, case: Case, round_number: int) -> Callable[[], None]:
        """What stands for one inference of `case` in the process of `round_number`."""
        script = random.Random(f"{case.case_id}:{round_number}")
        mean = scripted_latency(case) * script.lognormvariate(0, PROCESS_SPREAD)

        def call() -> None:
            self._clock += mean * script.lognormvariate(0, CALL_SPREAD)
            if self._fault == "backwards" and self._looked:
                self._clock -= 1.0

        return call

    def check(self) -> None:
        """Raise ArithmeticError where the output would not be finite."""
        if self._fault == "nan":
            raise ArithmeticError("output is not finite")

    def moment(self) -> Moment:
        """Clocks that agree, unless the fault says that they jump in the second block."""
        self._looked += 1
        jumps = JUMPING.get(self._fault, (0.0, 0.0)) if self._looked >= JUMP_AT else (0.0, 0.0)
        always_s, day_s = (self._clock + jump for jump in jumps)
        return Moment(self._clock, always_s, day_s)

    def pause(self, seconds: float) -> None:
        """Sleep for real."""
        time.sleep(seconds)

    def _pass(self, seconds: float) -> None:
        self._clock += seconds


class FakeSensor:
    """A chip that is always as busy, warm and fast."""

    def __init__(self, now: Callable[[], float], clock_hz: float) -> None:
        self._now = now
        self._clock_hz = clock_hz

    def gauges(self) -> Gauges:
        """The same levels every time."""
        return Gauges(
            utilisation=DEVICE_SHARE,
            clock_hz=self._clock_hz,
            temperature_c=50.0,
            power_w=POWER_W,
            throttles=[],
        )

    def energy_j(self) -> float | None:
        """Grows with the scripted clock."""
        return POWER_W * self._now()

    def close(self) -> None:
        """Nothing was opened."""


def scripted_latency(case: Case) -> float:
    """Seconds of an iteration: 5 to 25 ms at batch 1 by the model's name, sublinear in batch."""
    planted = PLANTED.fullmatch(case.model)
    network, percent = (planted[1], int(planted[2])) if planted else (case.model, 0)
    digest = hashlib.sha256(network.encode()).digest()
    alone = (0.005 + 0.02 * digest[0] / 255) * (1 + percent / 100)
    return alone * FORM_FACTORS.get(case.form, 1.0) * case.batch**0.7
