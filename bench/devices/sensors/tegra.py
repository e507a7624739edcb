"""Read a Jetson board through sysfs, without root, a subprocess or jtop.

| | JetPack 5 (L4T 35) | JetPack 6 (L4T 36) and 7 (L4T 38, 39) |
|---|---|---|
| devfreq folder of the GPU | `17000000.ga10b` | `17000000.gpu` |
| thermal zone of the GPU | `GPU-therm` | `gpu-thermal` |

A GPU on PCIe (Thor) has the devfreq folder `gpu-gpc-0`, and no file with its utilisation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.devices.sensors import tegra_facts
from bench.devices.sensors.sysfs import (
    UnreadableError,
    entries,
    first_existing,
    number_in,
    text_or_none,
)
from bench.devices.sensors.tegra_rails import total_of
from bench.records import Gauges
from bench.records.environment import clock_limits

# The devfreq folders of a GPU. `gpu-nvd-0` is the video decoder.
GPU_FOLDER = re.compile(r".+\.(gpu|ga10b|gv11b|gp10b)|gpu-gpc-\d+")
GPU_ZONE = re.compile(r"gpu[-_]therm(al)?", re.IGNORECASE)
GPU_ALERT = re.compile("gpu-throttle-alert")
OFFLINE, COLDEST = -256_000, -50_000  # m°C
OVER_CURRENT_COUNTER = re.compile(r"oc\d_event_cnt")

T = TypeVar("T")
Facts = dict[str, str | int | float | None]


class Board:
    """A `Sensor` of a Jetson board. On any other machine every value is None. No method raises.

    Files are located once and read at each call. `missing` has the reason for each fact that was
    requested and is None.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._sys = root / "sys"
        self.missing: dict[str, str] = {}

    def module(self) -> str:
        """Return the name of the module in the device tree; "" if there is none."""
        return self._fact("module", lambda: tegra_facts.module(self._root)) or ""

    def is_orin(self) -> bool:
        """Whether the chip is an Orin, whatever the name of the board is."""
        return bool(self._fact("is_orin", lambda: tegra_facts.is_orin(self._root)))

    def is_jetson(self) -> bool:
        """Whether this is any Jetson, also one that does not tell its release of Linux."""
        return bool(self._fact("is_jetson", lambda: tegra_facts.is_jetson(self._root)))

    def l4t(self) -> str | None:
        """Return the release of Jetson Linux, such as `36.4.3`."""
        return self._fact("l4t", lambda: tegra_facts.l4t(self._root))

    def jetpack(self) -> str | None:
        """Return the JetPack of the L4T release, such as `6.2`; if unlisted, its major number."""
        return self._fact("jetpack", lambda: tegra_facts.jetpack(self._root))

    def power_mode(self) -> str | None:
        """Return the mode of nvpmodel, such as `15W`; `mode 2` for a mode without a name."""
        return self._fact("power_mode", lambda: tegra_facts.power_mode(self._root))

    def clocks_locked(self) -> bool | None:
        """Whether min_freq = max_freq for the GPU's clock, as after `jetson_clocks`."""
        return self._fact("jetson_clocks", self._clocks_locked)

    def facts(self) -> Facts:
        """Return facts that are constant during a run. `sm_count` ignores the power mode.

        The limits of the GPU's clock follow the power mode, also in a container that cannot read
        the mode. `jetson_clocks` sets both to the same value.
        """
        return {
            "l4t": self.l4t(),
            "jetpack": self.jetpack(),
            "power_mode": self.power_mode(),
            "memory_gib": self._fact("memory_gib", lambda: tegra_facts.memory_gib(self._root)),
            "sm_count": self._fact("sm_count", lambda: tegra_facts.sm_count(self._root)),
            "compute_capability": "8.7" if self.is_orin() else None,
            **self._limits(),
        }

    def clock_limits(self) -> str | None:
        """Return the lowest and the highest clock that the GPU may have, as `306 to 1020 MHz`."""
        return clock_limits(self._limits())

    def state(self) -> Facts:
        """Return clock (MHz) and temperature (°C) of the GPU, and power (W) of the module."""
        levels = self.gauges()
        return {
            "jetson_clocks": {True: "on", False: "off", None: None}[self.clocks_locked()],
            "clock_mhz": None if levels.clock_hz is None else levels.clock_hz / 1e6,
            "temperature_c": levels.temperature_c,
            "power_w": levels.power_w,
        }

    def gauges(self) -> Gauges:
        """Return the levels of the GPU. The power is of the whole module: the GPU has no own rail.

        `throttles` has `sw_thermal_slowdown` while the kernel lowers the clock because of heat.
        """
        readers: dict[str, Callable[[], object]] = {
            "utilisation": self._utilisation,
            "clock_hz": self._clock_hz,
            "memory_clock_hz": self._memory_clock_hz,
            "temperature_c": self._temperature_c,
            "power_w": self._power_w,
            "throttles": self._throttles,
        }
        levels: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for name, reader in readers.items():
            try:
                levels[name] = reader()
            except UnreadableError as error:
                missing[name] = str(error)
        return Gauges(**levels, missing=missing)

    def over_currents(self) -> int | None:
        """Return how many over-current and under-voltage events the board has counted."""
        return self._fact("over_currents", self._count_over_currents)

    def energy_j(self) -> float | None:
        """Return None: the board measures the power of its rails and has no energy counter."""
        return None

    def close(self) -> None:
        """Do nothing: no file stays open between two calls."""

    def _fact(self, name: str, reader: Callable[[], T]) -> T | None:
        try:
            value = reader()
        except UnreadableError as error:
            self.missing[name] = str(error)
            return None
        self.missing.pop(name, None)
        return value

    def _limits(self) -> Facts:
        return {
            "gpu_min_mhz": self._fact("gpu_min_mhz", lambda: self._limit_mhz("min_freq")),
            "gpu_max_mhz": self._fact("gpu_max_mhz", lambda: self._limit_mhz("max_freq")),
        }

    def _clocks_locked(self) -> bool:
        return self._limit_mhz("min_freq") == self._limit_mhz("max_freq")

    def _limit_mhz(self, limit: str) -> float:
        """Return `min_freq` or `max_freq` of the GPU: the files are in Hz."""
        return number_in(self._devfreq() / limit, 1) / 1e6

    def _utilisation(self) -> float:
        """Return load / 1000: the file `load` is in per mille."""
        places = [self._gpu / "device"] if self._gpu else []
        places += [self._sys / "devices/platform/gpu.0", self._sys / "devices/gpu.0"]
        return number_in(first_existing([place / "load" for place in places]), 0, 1000) / 1000

    def _clock_hz(self) -> float:
        return float(number_in(self._devfreq() / "cur_freq", 1))

    def _memory_clock_hz(self) -> float:
        for_root_only = self._sys / "kernel/debug/bpmp/debug/clk/emc/rate"
        files = [self._sys / "class/devfreq/bwmgr/cur_freq", for_root_only]
        return float(number_in(first_existing(files), 1))

    def _temperature_c(self) -> float:
        """Return temp / 1000: the file `temp` is in m°C.

        While the GPU sleeps, its zone is offline: the file has -256000 or returns EAGAIN.
        """
        if self._zone is None:
            raise UnreadableError(
                f"no {self._sys}/class/thermal/thermal_zone* is of type gpu-thermal"
            )
        millidegrees = number_in(self._zone / "temp", OFFLINE, 150_000)
        if millidegrees < COLDEST:
            raise UnreadableError(f"{self._zone}/temp is offline: the GPU sleeps")
        return millidegrees / 1000

    def _power_w(self) -> float:
        """Return the sum over the rails of mV x mA / 1e6, in watts."""
        if not self._rails:
            raise UnreadableError(f"no labelled rail of an ina3221 in {self._sys}/class/hwmon")
        return sum(
            number_in(millivolts, 0) * number_in(milliamperes, -100) / 1e6  # noise about zero
            for millivolts, milliamperes in (self._rails[name] for name in total_of(self._rails))
        )

    def _throttles(self) -> list[str]:
        if self._alert is None:
            raise UnreadableError("no cooling device is of type gpu-throttle-alert")
        is_too_hot = number_in(self._alert / "cur_state", 0) > 0
        return ["sw_thermal_slowdown"] if is_too_hot else []

    def _count_over_currents(self) -> int:
        if not self._over_current_counters:
            raise UnreadableError("soctherm_oc counts no over-current events")
        return sum(number_in(path, 0) for path in self._over_current_counters)

    def _devfreq(self) -> Path:
        if self._gpu is None:
            raise UnreadableError(
                f"no GPU in {self._sys}/class/devfreq (*.gpu, *.ga10b, gpu-gpc-*)"
            )
        return self._gpu

    @functools.cached_property
    def _gpu(self) -> Path | None:
        folders = entries(self._sys / "class/devfreq")
        return next((path for path in folders if GPU_FOLDER.fullmatch(path.name)), None)

    @functools.cached_property
    def _zone(self) -> Path | None:
        return self._thermal("thermal_zone", GPU_ZONE)

    @functools.cached_property
    def _alert(self) -> Path | None:
        return self._thermal("cooling_device", GPU_ALERT)

    @functools.cached_property
    def _rails(self) -> dict[str, tuple[Path, Path]]:
        """The files in mV and mA by label. A channel without a label is not connected."""
        found: dict[str, tuple[Path, Path]] = {}
        for chip in self._hwmon("ina3221"):
            for channel in (1, 2, 3):
                label = text_or_none(chip / f"in{channel}_label")
                if label:
                    found[label] = (chip / f"in{channel}_input", chip / f"curr{channel}_input")
        return found

    @functools.cached_property
    def _over_current_counters(self) -> list[Path]:
        paths = [path for chip in self._hwmon("soctherm_oc") for path in entries(chip)]
        return [path for path in paths if OVER_CURRENT_COUNTER.fullmatch(path.name)]

    def _hwmon(self, name: str) -> list[Path]:
        chips = entries(self._sys / "class/hwmon")
        return [chip for chip in chips if text_or_none(chip / "name") == name]

    def _thermal(self, prefix: str, kind: re.Pattern[str]) -> Path | None:
        for path in entries(self._sys / "class/thermal"):
            if path.name.startswith(prefix) and kind.fullmatch(text_or_none(path / "type") or ""):
                return path
        return None
