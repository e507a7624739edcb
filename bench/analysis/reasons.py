"""Reasons to doubt a measurement: the observation, its level, and a sentence for the user.

A reason is data. Code decides by its observation, level and values, never by its sentence.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Literal, NamedTuple

from bench.text import duration_in_unit, significant

Level = Literal["VALID", "SUSPECT", "INVALID"]
LEVELS: tuple[Level, ...] = ("VALID", "SUSPECT", "INVALID")
MARKS = {"SUSPECT": "†", "INVALID": "‡"}  # of doubtful numbers


class Doubt(enum.Enum):
    """What may have disturbed a measurement; the value is the remedy."""

    OTHERS = "Stop other programs while you measure; `bench doctor` names the busy ones."
    STOLEN = (
        "Other virtual machines use the CPUs of this host. Measure at another time, or on a "
        "dedicated host."
    )
    QUOTA = "Lift the CPU quota of the container, or set --threads to its number of CPUs."
    CLOCK = (
        "Fix the clock (`sudo cpupower frequency-set -g performance`, on a GPU `nvidia-smi -lgc`, "
        "on a Jetson `sudo jetson_clocks`) and let the chip cool."
    )
    COMPUTE = (
        "Something slowed all computation, such as a lower clock, another program or heat. "
        "Measure again later."
    )
    MEMORY = "Another program used the memory or the last-level cache. Measure again later."
    HEAT = "Let the chip cool, and check its fan and power supply, before you measure again."
    CURRENT = (
        "The board draws more current than it may. Choose a lower power mode with `nvpmodel`, or "
        "use a stronger power supply."
    )
    POWER = "This load reaches the power limit of the chip; `nvidia-smi -pl` sets the limit."
    FOREIGN = "Stop the other processes on the GPU; `nvidia-smi` lists them."
    MODE = "Set the power mode once, before the run, and measure again."
    LIMITS = (
        "Something undid `jetson_clocks` or set the power mode during the run, or heat lowered the "
        "highest clock. Run `sudo jetson_clocks`, let the chip cool, and measure again."
    )
    SENSOR = "The machine's state was not fully recorded; trust this only if you know it was idle."
    WARM_UP = "The first samples may be slow. Use `--preset paper` for a longer warm-up."
    SUSPENDED = "Keep the machine awake (`systemd-inhibit bench run ...`) and measure again."
    FALSE_CLOCK = (
        "Code of the network, or a package that it imports, replaces the clock, as freezegun and "
        "time-machine do for tests. Remove it, and measure again."
    )
    STOPPED = (
        "Something stopped the process: a signal, a debugger, swapping or a slow disk. Find the "
        "cause, and measure again."
    )
    SET = "Wait until the time service has set the clock, then measure again."
    NETWORK = (
        "The network changes settings of its process when it is called. Remove that from its "
        "`forward`, and measure again."
    )
    UNATTRIBUTED = (
        "Another process (`taskset`, a cpuset of the container) or the network itself changed "
        "this. Leave it as it is during a run, and measure again."
    )
    STORED = (
        "The network may store its answers. Let its `forward` compute each answer from the image, "
        "and measure again."
    )
    SETTINGS = (
        "Something outside the network set this: a variable of the shell (`env | grep -E "
        "'OMP|MKL|DNN|MALLOC|GLIBC|THP'`), `taskset`, or a `sitecustomize`. Undo it, and measure "
        "again."
    )
    RESTLESS = (
        "The network leaves threads or processes that compute after its call. End them in its "
        "`forward`; for threads of OpenMP, unset OMP_WAIT_POLICY and set KMP_BLOCKTIME=0. Then "
        "measure again."
    )
    NEIGHBOUR = "Mend the network that disturbed this one, or measure it in a run of its own."
    ROUNDS_APART = "Measure the case anew under one setting: `bench run --again`."
    ONE_PROCESS = (
        "Processes of one case differ in speed. Run the same command with `--rounds 3` and without "
        "`--budget`; an interval needs three processes."
    )
    THREADS = "Omit --threads, or set it to at most the number of usable CPUs."


class Observation(enum.Enum):
    """What can be observed in a round: the doubt that it raises, and a sentence for its values."""

    UNRECORDED = Doubt.SENSOR, "the state of the machine was not recorded"
    OTHERS_UNREAD = Doubt.SENSOR, "the CPU time of other processes could not be read: {}"
    STOLEN_UNREAD = Doubt.SENSOR, "steal time could not be read: {}"
    STILL_UNREAD = Doubt.SENSOR, "nobody checked whether the process stood still: {}"
    NO_KERNEL = Doubt.SENSOR, "no calibration kernel was run"
    OTHERS = Doubt.OTHERS, "other processes used {} of the CPUs"
    STOLEN = Doubt.STOLEN, "the host gave {} of our CPU time to other guests"
    THROTTLED = Doubt.QUOTA, "a CPU quota stopped this process for {} of the time"
    CLOCK_FELL = Doubt.CLOCK, "the clock fell by {}"
    OVERHEATED = Doubt.CLOCK, "{} thermal events"
    BRAKED = Doubt.HEAT, "the clock was throttled: {}"
    OVER_CURRENT = Doubt.CURRENT, "over-current events lowered the clock for {} of the time"
    POWER_CAP = Doubt.POWER, "the power limit throttled the clock"
    FOREIGN_PROCESSES = Doubt.FOREIGN, "{} other processes were on the GPU"
    MODE_CHANGED = Doubt.MODE, "the power mode changed: {}"
    LIMITS_CHANGED = Doubt.LIMITS, "the limits of the GPU's clock changed: {}"
    SUSPENDED = Doubt.SUSPENDED, "the machine was suspended for {} in block {}"
    SET_FORWARD = Doubt.SET, "the clock was set forward by {} in block {}"
    SET_BACK = Doubt.SET, "the clock was set back by {} in block {}"
    FALSE_CLOCK = Doubt.FALSE_CLOCK, "the clock of the process counted {} where {} passed"
    STOOD_STILL = Doubt.STOPPED, "the process stood still for {} in block {}"
    SLOW_COMPUTE = Doubt.COMPUTE, "computation took {} times as long as on the quiet machine"
    SLOW_MEMORY = Doubt.MEMORY, "copying memory took {} times as long as on the quiet machine"
    UNSTEADY = Doubt.WARM_UP, "calls were still getting faster after the warm-up"
    SETTING_CHANGED = Doubt.NETWORK, "the network changed {} while it was timed"
    UNATTRIBUTED = Doubt.UNATTRIBUTED, "{} changed {} during the round"
    UNSEEN_SLOWER = Doubt.STORED, "calls on images never seen before took {} times as long"
    SETTING_DIFFERS = Doubt.SETTINGS, "the setting {} was {} instead of {}"
    FEWER_THREADS = Doubt.SETTINGS, "only {} of {} threads computed"
    FEWER_CPUS = Doubt.SETTINGS, "the process could use only {} of the CPUs for its {} threads"
    RESTLESS = (
        Doubt.RESTLESS,
        "it was measured alone, as it used {} of the CPUs while other networks were timed",
    )
    DISTURBED = Doubt.NEIGHBOUR, "the network {} used {} of the CPUs meanwhile"
    DISTURBED_APART = (
        Doubt.NEIGHBOUR,
        "a disturbed round with a median of {} is left out, as the network {} used {} of the CPUs "
        "meanwhile",
    )
    SPOILT_APART = (
        Doubt.OTHERS,
        "a round with a median of {} is left out, as other programs spoilt it; with all rounds, "
        "the latency would be {}",
    )
    ROUNDS_APART = Doubt.ROUNDS_APART, "rounds with another setting are left out: {}"
    ONE_PROCESS = Doubt.ONE_PROCESS, "it was measured in one process"
    MORE_THREADS = Doubt.THREADS, "{} threads on {} usable CPUs"

    def __init__(self, doubt: Doubt, sentence: str) -> None:
        self.doubt = doubt
        self.sentence = sentence


class Amount(NamedTuple):
    """A number, with the digits and the unit that a sentence shows."""

    number: float
    digits: str
    unit: str = ""


Value = Amount | str  # text is, for example, the name of a power mode


def count(number: int) -> Amount:
    """A count, shown as `3`."""
    return Amount(number, str(number))


def percent(share: float) -> Amount:
    """A share from 0 to 1, shown as `12 %`."""
    return Amount(share, f"{100 * share:.2g}", "%")


def factor(ratio: float) -> Amount:
    """A ratio, shown as `1.4`."""
    return Amount(ratio, f"{ratio:.1f}")


def latency(seconds: float) -> Amount:
    """Seconds of a call, shown as `12.3 ms`."""
    return Amount(seconds, significant(1e3 * seconds), "ms")


def elapsed(seconds: float) -> Amount:
    """A duration, shown as `40 s` or `6 min`."""
    return Amount(seconds, *duration_in_unit(seconds))


def seconds(duration: float) -> Amount:
    """A short duration, shown as `0.28 s`."""
    return Amount(duration, significant(duration, 2), "s")


class Reason(NamedTuple):
    """One observation with its level and values, made in `in_rounds` of `of_rounds` rounds."""

    observation: Observation
    level: Level
    values: tuple[Value, ...] = ()
    in_rounds: int = 1
    of_rounds: int = 1

    @property
    def doubt(self) -> Doubt:
        """What may have disturbed the measurement."""
        return self.observation.doubt

    @property
    def kind(self) -> tuple[object, ...]:
        """A key that is equal for reasons that differ only in their numbers."""
        words = (each.unit if isinstance(each, Amount) else each for each in self.values)
        return (self.observation, *words)

    @property
    def text(self) -> str:
        """`other processes used 12 % of the CPUs (2 of 3 rounds)`; no count for a single round."""
        if self.of_rounds == 1:
            return sentence([self])
        return f"{sentence([self])} ({self.in_rounds} of {self.of_rounds} rounds)"


def sentence(alike: Sequence[Reason]) -> str:
    """One sentence for reasons of one `kind`: `other processes used 11 to 14 % of the CPUs`."""
    columns = zip(*(reason.values for reason in alike), strict=True)
    return alike[0].observation.sentence.format(*map(_span, columns))


def _span(column: Sequence[Value]) -> str:
    """The range of the numbers with their unit: `11 to 14 %`; for texts, the first text."""
    amounts = [each for each in column if isinstance(each, Amount)]
    if not amounts:
        return str(column[0])
    low, high = min(amounts), max(amounts)
    digits = low.digits if low.digits == high.digits else f"{low.digits} to {high.digits}"
    return f"{digits} {low.unit}".rstrip()
