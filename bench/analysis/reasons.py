"""Reasons to doubt a number: what was observed, how grave it is, and the sentence that says it.

A reason is data. Code decides by its observation, level and values, never by its sentence.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Literal, NamedTuple

from bench.text import duration_in_unit

Level = Literal["VALID", "SUSPECT", "INVALID"]
LEVELS: tuple[Level, ...] = ("VALID", "SUSPECT", "INVALID")


class Doubt(enum.Enum):
    """What may spoil a number; the value is the remedy."""

    OTHERS = "Stop other programs while you measure; `bench doctor` names the busy ones."
    STOLEN = "Other guests of this host take its time: measure at another hour, or on your own."
    QUOTA = "Lift the CPU quota of the container, or measure with as many --threads as it has CPUs."
    CLOCK = (
        "Fix the clock (`sudo cpupower frequency-set -g performance`, of a GPU `nvidia-smi -lgc`, "
        "on a Jetson `sudo jetson_clocks`) and let the chip cool."
    )
    COMPUTE = "Something slowed all computing: a clock, a neighbour, heat. Measure again later."
    MEMORY = "Something else used the memory or the last cache. Measure again later."
    HEAT = "Let the chip cool, and see to its fan and supply, before you measure again."
    POWER = "This load draws all the power that the chip may take; `nvidia-smi -pl` sets the limit."
    FOREIGN = "Stop what else uses the GPU: `nvidia-smi` lists it."
    MODE = "Set the power mode once, before the run, and measure again."
    SENSOR = "Nobody looked: believe it as far as you know the machine was idle."
    WARM_UP = "The first samples may be slow; a longer warm-up has --preset paper."
    SUSPENDED = "Keep the machine awake (`systemd-inhibit python -m bench run ...`), measure again."
    SET = "Let the time service settle before you measure; what sets a clock may disturb more."
    THREADS = "Leave out --threads, or give at most as many as there are CPUs."


class Observation(enum.Enum):
    """What can be observed of a round: the doubt it raises, and a sentence with its values."""

    UNRECORDED = Doubt.SENSOR, "the state of the machine was not recorded"
    OTHERS_UNREAD = Doubt.SENSOR, "what others did could not be read: {}"
    STOLEN_UNREAD = Doubt.SENSOR, "steal time could not be read: {}"
    NO_KERNEL = Doubt.SENSOR, "no calibration kernel was run"
    OTHERS = Doubt.OTHERS, "others used {} of the CPUs"
    STOLEN = Doubt.STOLEN, "the host gave {} of our CPU time to others"
    THROTTLED = Doubt.QUOTA, "a quota stopped us for {} of the time"
    CLOCK_FELL = Doubt.CLOCK, "the clock fell by {}"
    OVERHEATED = Doubt.CLOCK, "{} thermal events"
    BRAKED = Doubt.HEAT, "the clock was held down: {}"
    POWER_CAP = Doubt.POWER, "the power limit held the clock down"
    FOREIGN_PROCESSES = Doubt.FOREIGN, "{} other processes were on the GPU"
    MODE_CHANGED = Doubt.MODE, "the power mode changed: {}"
    SUSPENDED = Doubt.SUSPENDED, "the machine was suspended for {} in block {}"
    SET_FORWARD = Doubt.SET, "the clock was set forward by {} in block {}"
    SET_BACK = Doubt.SET, "the clock was set back by {} in block {}"
    SLOW_COMPUTE = Doubt.COMPUTE, "computing took {} times as long as when it is quiet"
    SLOW_MEMORY = Doubt.MEMORY, "copying memory took {} times as long as when it is quiet"
    UNSTEADY = Doubt.WARM_UP, "calls were still getting faster after the warm-up"
    MORE_THREADS = Doubt.THREADS, "{} threads on {} usable CPUs"

    def __init__(self, doubt: Doubt, sentence: str) -> None:
        self.doubt = doubt
        self.sentence = sentence


class Amount(NamedTuple):
    """A number, and its digits and unit as a sentence shows them."""

    number: float
    digits: str
    unit: str = ""


Value = Amount | str  # text, such as the name of a power mode, is never taken for a number


def count(number: int) -> Amount:
    """So many things: `3`."""
    return Amount(number, str(number))


def percent(share: float) -> Amount:
    """A share of 0 to 1: `12 %`."""
    return Amount(share, f"{100 * share:.2g}", "%")


def factor(ratio: float) -> Amount:
    """How many times as large: `1.4`."""
    return Amount(ratio, f"{ratio:.1f}")


def elapsed(seconds: float) -> Amount:
    """A duration: `40 s`, `6 min`."""
    return Amount(seconds, *duration_in_unit(seconds))


class Reason(NamedTuple):
    """One observation, how grave it is, its values, and in how many of how many rounds it is."""

    observation: Observation
    level: Level
    values: tuple[Value, ...] = ()
    in_rounds: int = 1
    of_rounds: int = 1

    @property
    def doubt(self) -> Doubt:
        """What may have spoilt the number."""
        return self.observation.doubt

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for reasons that differ in nothing but their numbers."""
        words = (each.unit if isinstance(each, Amount) else each for each in self.values)
        return (self.observation, *words)

    @property
    def seen(self) -> str:
        """`others used 12 % of the CPUs (2 of 3 rounds)`; a single round is not counted."""
        if self.of_rounds == 1:
            return sentence([self])
        return f"{sentence([self])} ({self.in_rounds} of {self.of_rounds} rounds)"


def sentence(alike: Sequence[Reason]) -> str:
    """Reasons of one `kind` as one sentence: `others used 11 to 14 % of the CPUs`."""
    columns = zip(*(reason.values for reason in alike), strict=True)
    return alike[0].observation.sentence.format(*map(_span, columns))


def _span(column: Sequence[Value]) -> str:
    """The range of the numbers with their unit: `11 to 14 %`; equal texts as they are."""
    amounts = [each for each in column if isinstance(each, Amount)]
    if not amounts:
        return str(column[0])
    low, high = min(amounts), max(amounts)
    digits = low.digits if low.digits == high.digits else f"{low.digits} to {high.digits}"
    return f"{digits} {low.unit}".rstrip()
