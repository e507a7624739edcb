"""Sensor readings of a device, and the state of the machine while blocks were timed."""

from __future__ import annotations

import msgspec

from bench.records.fields import (
    Amount,
    Count,
    Duration,
    Name,
    Number,
    Ordinal,
    Seconds,
    Text,
    Whole,
)


class Counters(msgspec.Struct, frozen=True):
    """Counters that only increase; None if one could not be read.

    own_cpu_s: CPU seconds of this process. busy_cpu_s: CPU seconds of all processes on the usable
    CPUs. stolen_cpu_s: CPU seconds that other guests of the host took (steal). throttled_s,
    throttled_periods: how long and how often a CPU quota stopped this process. overheated: thermal
    events. page_faults: page faults of this process. over_currents: over-current and under-voltage
    events of the board.
    """

    own_cpu_s: Amount | None = None
    busy_cpu_s: Amount | None = None
    stolen_cpu_s: Amount | None = None
    throttled_s: Amount | None = None
    throttled_periods: Count | None = None
    overheated: Count | None = None
    page_faults: Count | None = None
    over_currents: Count | None = None


class Reading(Counters, frozen=True, kw_only=True):
    """Sensor values at one moment: counters, which start at an arbitrary time, and levels.

    `cpus` is the number of usable CPUs, `cpu_list` their indices. Clock, temperature, power and
    throttle reasons belong to the chip that computes. `clock_limits` are the lowest and the highest
    clock that its settings allow, as `306 to 1020 MHz`. `thread_s` holds for each thread of this
    process, by its number, the CPU seconds since its start. With `counts_waits` they include the
    seconds for which the thread waited for a CPU. `missing` gives for each value that could not be
    read the reason.
    """

    at_s: Amount
    cpus: Ordinal | None = None
    cpu_list: frozenset[int] | None = None
    clock_hz: Amount | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    throttles: list[Text] | None = None
    power_mode: Name | None = None
    clock_limits: Name | None = None
    thread_s: dict[int, Number] = {}
    counts_waits: bool = False
    missing: dict[Name, Text] = {}


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of a GPU at one moment; None if one could not be read: `missing` gives the reason.

    `utilisation` is the driver's average over its last sampling period, 0 to 1: the share of time
    in which any kernel ran, not the share of the chip that it filled. `throttles` holds the
    current reasons for a lower clock, by NVML's names in lower case (`sw_thermal_slowdown`).
    """

    utilisation: Amount | None = None
    clock_hz: Amount | None = None
    memory_clock_hz: Amount | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    throttles: list[Text] | None = None
    missing: dict[Name, Text] = {}


class Level(msgspec.Struct, frozen=True):
    """What the chip read at the end of a block; None for a level that it does not tell.

    `energy_j` is a counter of the chip, of which only differences mean something.
    """

    clock_hz: Amount | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    energy_j: Amount | None = None


class Jump(msgspec.Struct, frozen=True):
    """A jump of the machine's clocks while block number `block` (from 1) was timed.

    `suspended_s`: seconds for which the machine was suspended; no sample includes them. `set_s`:
    seconds by which the time of day was set forward; negative if it was set back.
    """

    block: Whole
    suspended_s: Duration = 0.0
    set_s: Number = 0.0


class Conditions(Counters, frozen=True):
    """The state of the machine while the blocks of a round were timed.

    Counters are sums over blocks. Levels are extremes over the readings before and after each
    block; the clock of a GPU counts only right after a block, since an idle GPU lowers it.
    `throttled_by` lists every throttle reason. `foreign_processes` counts the processes on the GPU
    before the round started its first child. `power_modes` and `clock_limits` start with those of
    the environment, if there are any. `jumps` lists blocks that a clock jump may have disturbed. A
    value that could not be read is None; `missing` gives the reason.

    `counted_s` are the seconds of the blocks with their kernels and discarded calls, by the clock
    that timed them. `waited_s` are the same seconds by the clock of the parent process, which runs
    no code of the user. Both are None for a scripted clock.

    `threads_used` is the number of threads that computed an operator, run after the blocks, which
    has work for all threads of the case; None if it was not counted.
    `idle_s` has for each block the seconds in which no thread of the process computed or waited for
    a CPU; the list is empty where this could not be read.
    """

    wall_s: Amount = 0.0
    cpus: Ordinal | None = None
    lowest_clock_hz: Amount | None = None
    highest_clock_hz: Amount | None = None
    highest_temperature_c: Number | None = None
    highest_power_w: Number | None = None
    throttled_by: list[Text] | None = None
    foreign_processes: Count | None = None
    power_modes: list[Text] = []
    clock_limits: list[Text] = []
    missing: dict[Name, Text] = {}
    jumps: list[Jump] = []
    counted_s: Amount | None = None
    waited_s: Amount | None = None
    threads_used: Amount | None = None
    idle_s: list[Amount] = []


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Sensor samples of a GPU during a steady loop of back-to-back calls, outside timed blocks.

    The loop lasts `seconds`. Lists hold one value per sample and omit values that could not be
    read; `missing` gives the reasons. `energy_j` is the increase of the chip's energy counter over
    the whole loop; it includes idle power.
    """

    seconds: Seconds
    iterations: Whole
    utilisation: list[Amount] = []
    clock_hz: list[Amount] = []
    memory_clock_hz: list[Amount] = []
    temperature_c: list[Number] = []
    power_w: list[Number] = []
    throttled_by: list[Text] = []
    energy_j: Amount | None = None
    missing: dict[Name, Text] = {}
