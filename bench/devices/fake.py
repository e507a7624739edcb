"""A simulated device with a scripted clock: a whole run takes seconds and repeats exactly.

A call of a simulated network advances the clock by a time that depends only on the case, the
round and the number of the call. Models called `fault/<kind>` exist on this device only. Some of
them fail (`faults.py`), to test every kind of Failure. The others simulate a disturbed machine, to
test every verdict.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import re
import statistics
import time
from collections.abc import Callable, Container, Iterator

from bench.devices.clocks import Moment
from bench.devices.driver import AlwaysReady, Kind, Script, Speed
from bench.devices.faults import FAULTS, PREFIX, fault_of, trigger
from bench.devices.kernels import CPU_PEAK, Kernels
from bench.devices.sensors.sensor import Memory, Sensor
from bench.records import Case, Chip, Gauges, Reading, Setting, Stage
from bench.records.scenario import PACE, REST

FORM_FACTORS = {"train": 1.0, "deploy": 0.85, "rrep": 0.72, "rrep_fc": 0.8, "srep": 0.55}
TRAINING_FACTOR = 3.0
WAKE = 0.5
COLD_S = {"import": 0.5, "device": 0.02, "build": 0.1, "load": 0.05}
FIRST_CALL = 5.0  # times as long as a later call
PROCESS_SPREAD = 0.03
CALL_SPREAD = 0.02
KERNEL_S = (0.001, 0.002)
# Seconds by which the clock since boot and the time of day jump.
CLOCK_JUMPS = {"suspended": (30.0, 30.0), "set_back": (0.0, -3600.0)}
JUMP_AT = 4  # clocks are read twice in each block: reading 4 is at the end of the second block
IN_BLOCK_2 = 3  # readings of the clocks so far
CLOCK_HZ = 3e9
BURST_S = 0.4  # of noise, after as many seconds of quiet
BURST_FACTOR = 6.0
DEVICE_SHARE = 0.9  # device time / host time of an iteration
ASLEEP_SHARE = 0.8  # of a call, in which the host waits for the device without computing
STOPPED_S = 5.0
POWER_W = 100.0
# Models of selfcheck: `self/<network>+<per cent by which it is slower>/<letter>`.
PLANTED = re.compile(r"self/(\w+)\+(\d+)/\w")


class Fake(AlwaysReady):
    """The simulated device; needs no torch."""

    name = "fake"
    kind: Kind = ""
    torch_device = ""
    runs_torch = False
    has_queue = True
    is_shared = True
    clock_follows_load = False
    uses_malloc = True
    speed = Speed(macs_per_s=35e9, macs_per_s_large=16e9, per_thread=True)
    own_models: Container[str] = frozenset(PREFIX + fault for fault in FAULTS)

    def identify(self) -> Chip:
        """Return the simulated chip, which is always available."""
        return Chip(device=self.name, kind=self.kind, name="fake", threads=1, facts={})

    def prove(self, chip: Chip) -> None:
        """Do nothing: the device computes nothing."""

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """Return None: the device simulates every precision."""
        return None

    def state(self) -> dict[str, str | int | float | None]:
        """Return no state: the simulated machine is always idle."""
        return {}

    def free_bytes(self) -> int | None:
        """Return None: simulated networks need no memory."""
        return None

    def foreign_processes(self) -> int | None:
        """Return 0: no other process can use the device."""
        return 0

    def preload(self) -> None:
        """Do nothing: the device needs no imports."""

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[FakeSession]:
        """Open a session whose clock starts at zero."""
        session = FakeSession(fault_of(case.model), case)
        session.entered("start")
        yield session


class FakeSession:
    """A session, and the Script that simulates networks, faults and clocks."""

    torch_device = ""
    has_queue = True
    peak_work = CPU_PEAK

    def __init__(self, fault: str = "", case: Case | None = None) -> None:
        self._fault = fault
        self._wake = _wake(case) if case else 0.0
        self._rested_s = 0.0
        self._clock = 0.0
        self._clock_hz = CLOCK_HZ
        self._clock_readings = 0
        self._asleep_s = 0.0
        self.script: Script | None = self

    # --- the protocol Session ---

    def now(self) -> float:
        """Return the scripted clock in seconds."""
        return self._clock

    def kernels(self) -> Kernels:
        """Return kernels that advance the clock by a constant time, or a longer one in a burst."""
        return Kernels(*(functools.partial(self._advance, seconds) for seconds in KERNEL_S))

    def sense(self) -> Reading:
        """Read an idle machine, or a machine with the disturbance of the fault."""
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
            thread_s={0: self._clock - self._asleep_s},
            counts_waits=True,
        )

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """Return DEVICE_SHARE of the host's time of each call."""
        times = []
        for _ in range(iterations):
            started = self._clock
            call()
            times.append(DEVICE_SHARE * (self._clock - started))
        return times

    def sensor(self) -> Sensor | None:
        """Return a sensor with constant levels."""
        return FakeSensor(self.now, self._clock_hz)

    def settings(self) -> dict[str, Setting]:
        """Return no settings: there are no switches."""
        return {}

    def threads_used(self, threads: int) -> float | None:
        """Return None: nothing is computed."""
        return None

    def free_memory(self) -> None:
        """Do nothing: simulated networks need no memory."""

    def reset_peak_memory(self) -> None:
        """Do nothing: simulated networks need no memory."""

    def memory(self) -> Memory:
        """Return unknown sizes: there is no network."""
        return Memory()

    # --- the protocol Script ---

    def entered(self, stage: Stage) -> None:
        """Trigger the fault of this session if it belongs to the stage."""
        trigger(self._fault, stage)

    def network(self, case: Case, round_number: int) -> Callable[[], None]:
        """Return a function that advances the clock by the time of one inference.

        time = scripted_latency(case) * lognormal(0, PROCESS_SPREAD) * lognormal(0, CALL_SPREAD);
        the first factor is drawn once for each round, the second for each call. A call after a
        rest takes up to 1 + WAKE times as long.
        """
        script = random.Random(f"{case.case_id}:{round_number}")
        mean = scripted_latency(case) * script.lognormvariate(0, PROCESS_SPREAD)

        def call() -> None:
            seconds = mean * script.lognormvariate(0, CALL_SPREAD)
            seconds *= 1 + self._wake * min(self._rested_s, 1.0)
            self._rested_s = 0.0
            self._clock += seconds
            if self._fault in ("asleep", "stopped"):
                self._asleep_s += ASLEEP_SHARE * seconds
            if self._fault == "stopped" and self._clock_readings == IN_BLOCK_2:
                self._fault = "asleep"
                self._clock += STOPPED_S
                self._asleep_s += STOPPED_S
            if self._fault == "backwards" and self._clock_readings:
                self._clock -= 1.0

        return call

    def cold_start(self, case: Case, round_number: int) -> dict[str, float]:
        """Return COLD_S, times lognormal(0, PROCESS_SPREAD) by round, and a slow first call."""
        script = random.Random(f"cold {case.case_id}:{round_number}")
        parts_s = {**COLD_S, "first call": FIRST_CALL * scripted_latency(case)}
        return {
            name: seconds * script.lognormvariate(0, PROCESS_SPREAD)
            for name, seconds in parts_s.items()
        }

    def check(self) -> None:
        """Raise ArithmeticError if the fault is `nan`."""
        if self._fault == "nan":
            raise ArithmeticError("output is not finite")

    def moment(self) -> Moment:
        """Read clocks that agree; with a fault of CLOCK_JUMPS they jump in the second block."""
        self._clock_readings += 1
        has_jumped = self._clock_readings >= JUMP_AT
        jumps = CLOCK_JUMPS.get(self._fault, (0.0, 0.0)) if has_jumped else (0.0, 0.0)
        always_s, day_s = (self._clock + jump for jump in jumps)
        return Moment(self._clock, always_s, day_s)

    def rest(self, seconds: float) -> None:
        """Advance the clock."""
        self._clock += seconds
        self._rested_s = seconds

    def pause(self, seconds: float) -> None:
        """Sleep in real time."""
        time.sleep(seconds)

    def _advance(self, seconds: float) -> None:
        self._clock += seconds * (BURST_FACTOR if self._is_in_burst() else 1.0)

    def _is_in_burst(self) -> bool:
        """Whether the fault `bursts` slows the kernels now; it does not slow the network."""
        return self._fault == "bursts" and int(self._clock / BURST_S) % 2 == 1


class FakeSensor:
    """A sensor whose levels never change."""

    def __init__(self, now: Callable[[], float], clock_hz: float) -> None:
        self._now = now
        self._clock_hz = clock_hz

    def gauges(self) -> Gauges:
        """Return the same levels every time."""
        return Gauges(
            utilisation=DEVICE_SHARE,
            clock_hz=self._clock_hz,
            temperature_c=50.0,
            power_w=POWER_W,
            throttles=[],
        )

    def energy_j(self) -> float | None:
        """Return POWER_W times the scripted clock, in joules."""
        return POWER_W * self._now()

    def close(self) -> None:
        """Do nothing: the sensor holds no resource."""


def _wake(case: Case) -> float:
    """Return how much longer a call after a second of rest takes: up to WAKE, by the network."""
    digest = hashlib.sha256(case.model.encode()).digest()
    return WAKE * digest[1] / 255 if case.when.kind in (REST, PACE) else 0.0


def scripted_latency(case: Case) -> float:
    """Return the mean seconds of an iteration of a simulated network.

    seconds = alone * form factor * batch^0.7, where `alone` is 5 to 25 ms from a hash of the name.
    A network with another form in each stage has the mean of their factors. A training step takes
    TRAINING_FACTOR times as long.
    """
    planted = PLANTED.fullmatch(case.model)
    network, percent = (planted[1], int(planted[2])) if planted else (case.model, 0)
    digest = hashlib.sha256(network.encode()).digest()
    alone = (0.005 + 0.02 * digest[0] / 255) * (1 + percent / 100)
    factor = statistics.fmean(FORM_FACTORS.get(each, 1.0) for each in case.form.split("-"))
    return (TRAINING_FACTOR if case.trains else 1.0) * alone * factor * case.batch**0.7
