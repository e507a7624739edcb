"""A device with a scripted clock: the whole pipeline in seconds, the same numbers every time.

A call of a simulated network moves the clock by a time that depends on the case, the round and
the number of the call, and on nothing else. Models called `fault/<kind>` exist on this device
only: some fail in a way of their own (`faults.py`), so that every road to a Failure can be walked,
the others find the machine in a state that spoils numbers, so that every verdict can be reached.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import re
from collections.abc import Callable

from bench.devices.clocks import Moment
from bench.devices.faults import FAULTS, fault_of, suffer
from bench.devices.kernels import Kernels
from bench.devices.sensor import Memory, Sensor
from bench.records import Case, Chip, Gauges, Reading, Setting, Stage

__all__ = ["FAULTS", "Fake", "fault_of", "scripted_latency"]

FORM_FACTORS = {"train": 1.0, "rrep": 0.72, "rrep_fc": 0.8, "srep": 0.55}
PROCESS_SPREAD = 0.03
CALL_SPREAD = 0.02
KERNEL_S = (0.001, 0.002)
JUMPING = {"suspended": (30.0, 30.0), "set_back": (0.0, -3600.0)}  # seconds in all, time of day
JUMP_AT = 4  # the clocks are looked at twice a block: at the end of the second
CLOCK_HZ = 3e9
DEVICE_SHARE = 0.9  # of an iteration, by the scripted chip's own clock
POWER_W = 100.0
PLANTED = re.compile(r"self/(\w+)\+(\d+)/\w")  # what selfcheck makes slower by so many per cent


class Fake:
    """Scripted time; needs no torch."""

    name = "fake"
    torch_device = ""
    has_queue = True

    def __init__(self) -> None:
        self._clock = 0.0
        self._fault = ""
        self._clock_hz = CLOCK_HZ
        self._looked = 0

    def identify(self) -> Chip:
        """Always here."""
        return Chip(device=self.name, kind="", name="fake", threads=1, facts={})

    def state(self) -> dict[str, str | int | float | None]:
        """Always quiet."""
        return {}

    def preload(self) -> None:
        """Nothing to import."""

    def session(self, case: Case) -> contextlib.AbstractContextManager[object]:
        """Start the clock at zero."""
        self._clock = 0.0
        self._fault = fault_of(case.model)
        self.suffer("start")
        return contextlib.nullcontext()

    def now(self) -> float:
        """Scripted seconds."""
        return self._clock

    def moment(self) -> Moment:
        """By clocks that agree, unless the fault says that they jump in the second block."""
        self._looked += 1
        jumps = JUMPING.get(self._fault, (0.0, 0.0)) if self._looked >= JUMP_AT else (0.0, 0.0)
        always_s, day_s = (self._clock + jump for jump in jumps)
        return Moment(self._clock, always_s, day_s)

    def suffer(self, stage: Stage) -> None:
        """Fail, if the fault is of this stage."""
        suffer(self._fault, stage)

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

    def free_bytes(self) -> int | None:
        """Nothing is held, so there is always room."""
        return None

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """A part of what the host sees, always the same."""
        times = []
        for _ in range(iterations):
            started = self._clock
            call()
            times.append(DEVICE_SHARE * (self._clock - started))
        return times

    def sensor(self) -> Sensor | None:
        """One that follows the scripted clock."""
        return self

    def gauges(self) -> Gauges:
        """Always as busy, warm and fast."""
        return Gauges(
            utilisation=DEVICE_SHARE,
            clock_hz=self._clock_hz,
            temperature_c=50.0,
            power_w=POWER_W,
            throttles=[],
        )

    def energy_j(self) -> float | None:
        """Grows with the scripted clock."""
        return POWER_W * self._clock

    def close(self) -> None:
        """Nothing was opened."""

    def settings(self) -> dict[str, Setting]:
        """There are no switches."""
        return {}

    def foreign_processes(self) -> int | None:
        """Nobody else can be here."""
        return 0

    def _pass(self, seconds: float) -> None:
        self._clock += seconds

    def reset_peak_memory(self) -> None:
        """Nothing is held."""

    def memory(self) -> Memory:
        """Not known of a network that is not there."""
        return Memory()

    def simulate(self, case: Case, round_number: int) -> Callable[[], None]:
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


def scripted_latency(case: Case) -> float:
    """Seconds of an iteration: 5 to 25 ms at batch 1 by the model's name, sublinear in batch."""
    planted = PLANTED.fullmatch(case.model)
    network, percent = (planted[1], int(planted[2])) if planted else (case.model, 0)
    digest = hashlib.sha256(network.encode()).digest()
    alone = (0.005 + 0.02 * digest[0] / 255) * (1 + percent / 100)
    return alone * FORM_FACTORS.get(case.form, 1.0) * case.batch**0.7
