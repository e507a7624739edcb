"""What a device senses, and the state of the machine while blocks were timed."""

from __future__ import annotations

import msgspec

from bench.records.fields import Integer, Name, Number, Seconds, Text, Whole


class Counters(msgspec.Struct, frozen=True):
    """What a device counts, and grows only; None where it could not be read.

    CPU seconds of this process, of everybody on the CPUs that we may use, and of other guests of
    the host (steal); seconds and periods for which a quota stopped us; thermal events; page
    faults of this process.
    """

    own_cpu_s: Number | None = None
    busy_cpu_s: Number | None = None
    stolen_cpu_s: Number | None = None
    throttled_s: Number | None = None
    throttled_periods: Integer | None = None
    overheated: Integer | None = None
    page_faults: Integer | None = None


class Reading(Counters, frozen=True, kw_only=True):
    """What a device senses at one moment: counters since some past moment, and levels.

    `cpus` are those that we may use; clock, temperature, power and throttles are those of the
    chip that computes. `missing` says of each None why it could not be read.
    """

    at_s: Number
    cpus: Integer | None = None
    clock_hz: Number | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    throttles: list[Text] | None = None
    power_mode: Name | None = None
    missing: dict[Name, Text] = {}


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of a GPU at one moment; None where one could not be read, and `missing` says why.

    `utilisation` is the driver's own average over its last moment, 0 to 1: the share of time in
    which any kernel ran, not how much of the chip it filled. `throttles` are the reasons that
    hold the clock down now, by NVML's names in lower case (`sw_thermal_slowdown`).
    """

    utilisation: Number | None = None
    clock_hz: Number | None = None
    memory_clock_hz: Number | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    throttles: list[Text] | None = None
    missing: dict[Name, Text] = {}


class Jump(msgspec.Struct, frozen=True):
    """What the clocks of the machine did while the block of that number (from 1) was timed.

    It was suspended for so many seconds, which no sample holds; its time of day was set so many
    forward, or back where that is negative.
    """

    block: Whole
    suspended_s: Number = 0.0
    set_s: Number = 0.0


class Conditions(Counters, frozen=True):
    """The state of the machine while the blocks of a round were timed: sums over blocks.

    Levels are those seen anywhere before or after a block, clocks of a GPU only right after one,
    where it works; `throttled_by` is every reason seen. `foreign_processes` were on the GPU before
    the round's first child was. `power_modes` begins with that of the environment, where a mode is
    part of it. `jumps` are of blocks that may be spoilt. What could not be read is None, and
    `missing` says why.
    """

    wall_s: Number = 0.0
    cpus: Integer | None = None
    lowest_clock_hz: Number | None = None
    highest_clock_hz: Number | None = None
    highest_temperature_c: Number | None = None
    highest_power_w: Number | None = None
    throttled_by: list[Text] | None = None
    foreign_processes: Integer | None = None
    power_modes: list[Text] = []
    missing: dict[Name, Text] = {}
    jumps: list[Jump] = []


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """What back-to-back calls did to a GPU, sampled beside them for `seconds`; in no timed block.

    Lists hold one value a sample, without those that could not be read; `missing` says why.
    `energy_j` is of the chip's own counter over the whole loop, idle power included.
    """

    seconds: Seconds
    iterations: Whole
    utilisation: list[Number] = []
    clock_hz: list[Number] = []
    memory_clock_hz: list[Number] = []
    temperature_c: list[Number] = []
    power_w: list[Number] = []
    throttled_by: list[Text] = []
    energy_j: Number | None = None
    missing: dict[Name, Text] = {}
