"""A Jetson board through the files of its kernel and of JetPack: no root, no subprocess, no jtop.

Where they are in JetPack 5 (L4T 35), 6 (36) and 7 (38, 39): the GPU's devfreq folder is
`17000000.ga10b` in 5 and `17000000.gpu` in 6 and 7, its thermal zone `GPU-therm` in 5 and
`gpu-thermal` in 6 and 7. A GPU on PCIe (Thor) is `gpu-gpc-0` and has no file with its load.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from bench.records import Gauges

# Folders of devfreq that are a GPU; `gpu-nvd-0`, the video decoder, is none.
GPU_FOLDER = re.compile(r".+\.(gpu|ga10b|gv11b|gp10b)|gpu-gpc-\d+")
GPU_ZONE = re.compile(r"gpu[-_]therm(al)?", re.IGNORECASE)
GPU_ALERT = re.compile("gpu-throttle-alert")
L4T = re.compile(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)")
MODE = re.compile(r"pmode:(\d+)")
MODE_NAME = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", re.MULTILINE)

# By developer.nvidia.com/embedded/jetpack-archive; of what is not here only the major is told.
RELEASES = """
35.1.0=5.0.2 35.2.1=5.1   35.3.1=5.1.1 35.4.1=5.1.2 35.5.0=5.1.3 35.6.0=5.1.4 35.6.1=5.1.5
35.6.2=5.1.5 35.6.4=5.1.6 36.3.0=6.0   36.4.0=6.1   36.4.3=6.2   36.4.4=6.2.1 36.4.7=6.2.1
36.5.0=6.2.2 38.2.0=7.0   38.4.0=7.1   39.2.0=7.2   39.2.1=7.2.1
"""
JETPACKS = dict(pair.split("=") for pair in RELEASES.split())
JETPACK_MAJORS = {"35": "5", "36": "6", "38": "7", "39": "7"}

# Streaming multiprocessors (128 cores each) of a module as built, by what its device tree says
# in `compatible` and `model`: first comes what says more. A power mode may gate some of them.
SM_COUNTS = [
    (r"p3701-0004|AGX Orin.*\b32\s?GB", 14),
    (r"p3701-000[058]|AGX Orin.*\b64\s?GB", 16),
    (r"p3767-0004|Orin Nano.*\b4\s?GB", 4),
    (r"p3767-000[0135]|Orin NX|Orin Nano.*\b8\s?GB", 8),
]

# What a module takes in all. Orin Nano and NX measure it, of AGX Orin it is a sum, in which
# VDDQ_VDD2_1V8AO would count twice: NVIDIA's guide of L4T 36.4 ("Software-Based Power Consumption
# Modeling") says that VIN_SYS_5V0 has it already. The total that jtop shows counts it twice.
TOTALS = [("VDD_IN",), ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")]

READ_AT_MOST = 2**20
KIB_IN_GIB = 2**20
T = TypeVar("T")
Facts = dict[str, str | int | float | None]


class UnreadableError(Exception):
    """A value could not be read: its text says what was looked for, or what was there instead."""


class Board:
    """A Jetson board, as a Sensor; elsewhere everything is None. None of its methods raises.

    Files are looked for once and read each time. `missing` says of each fact that was asked for
    and is None why it could not be read.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._sys = root / "sys"
        self._events: int | None = None
        self.missing: dict[str, str] = {}

    def module(self) -> str:
        """Its name in the device tree, "" where there is none."""
        return self._fact("module", lambda: text_of(self._root / "proc/device-tree/model")) or ""

    def l4t(self) -> str | None:
        """The release of Jetson Linux, as `36.4.3`."""
        return self._fact("l4t", self._l4t)

    def jetpack(self) -> str | None:
        """The JetPack of that L4T, as `6.2`; its major alone where no more is known."""
        return self._fact("jetpack", self._jetpack)

    def power_mode(self) -> str | None:
        """The mode of nvpmodel, as `15W`; `mode 2` where its configuration has no name for it."""
        return self._fact("power_mode", self._power_mode)

    def clocks_locked(self) -> bool | None:
        """Whether `jetson_clocks` was run: it lifts the GPU's lowest clock to its highest."""
        return self._fact("jetson_clocks", self._clocks_locked)

    def facts(self) -> Facts:
        """What does not change while it runs; `sm_count` is of the module as built."""
        return {
            "l4t": self.l4t(),
            "jetpack": self.jetpack(),
            "power_mode": self.power_mode(),
            "memory_gib": self._fact("memory_gib", self._memory_gib),
            "sm_count": self._fact("sm_count", self._sm_count),
            "compute_capability": "8.7" if "Orin" in self.module() else None,
        }

    def state(self) -> Facts:
        """How it stands now: MHz and °C of the GPU, W of the module."""
        levels = self.gauges()
        return {
            "jetson_clocks": {True: "on", False: "off", None: None}[self.clocks_locked()],
            "clock_mhz": None if levels.clock_hz is None else levels.clock_hz / 1e6,
            "temperature_c": levels.temperature_c,
            "power_w": levels.power_w,
        }

    def gauges(self) -> Gauges:
        """Levels of the GPU; power is that of the whole module, for the GPU has no rail alone.

        `throttles` are `sw_thermal_slowdown` while the kernel holds the clock down for heat, and
        `over_current` where over-current or under-voltage was counted since the last look, as
        far as the board tells either.
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
            except UnreadableError as why:
                missing[name] = str(why)
        return Gauges(**levels, missing=missing)

    def energy_j(self) -> float | None:
        """None: the rails tell their power when asked, and nothing on the board sums it up."""
        return None

    def close(self) -> None:
        """Nothing stays open."""

    def _fact(self, name: str, reader: Callable[[], T]) -> T | None:
        try:
            value = reader()
        except UnreadableError as why:
            self.missing[name] = str(why)
            return None
        self.missing.pop(name, None)
        return value

    def _l4t(self) -> str:
        return ".".join(_match(L4T, self._root / "etc/nv_tegra_release").groups())

    def _jetpack(self) -> str:
        l4t = self._l4t()
        known = JETPACKS.get(l4t) or JETPACK_MAJORS.get(l4t.partition(".")[0])
        if not known:
            raise UnreadableError(f"no JetPack is known for L4T {l4t}")
        return known

    def _power_mode(self) -> str:
        mode = int(_match(MODE, self._root / "var/lib/nvpmodel/status")[1])
        named = MODE_NAME.findall(_text_or_none(self._root / "etc/nvpmodel.conf") or "")
        return {int(number): name for number, name in named}.get(mode, f"mode {mode}")

    def _clocks_locked(self) -> bool:
        devfreq = self._devfreq()
        return number_in(devfreq / "min_freq", 1) == number_in(devfreq / "max_freq", 1)

    def _memory_gib(self) -> float:
        total = _match(re.compile(r"MemTotal:\s*(\d+) kB"), self._root / "proc/meminfo")
        return round(int(total[1]) / KIB_IN_GIB, 1)

    def _sm_count(self) -> int:
        parts = _text_or_none(self._root / "proc/device-tree/compatible") or ""
        for says in (parts, self.module()):
            for pattern, count in SM_COUNTS:
                if re.search(pattern, says):
                    return count
        raise UnreadableError("the device tree does not tell which Orin module this is")

    def _utilisation(self) -> float:
        places = [self._gpu / "device"] if self._gpu else []
        places += [self._sys / "devices/platform/gpu.0", self._sys / "devices/gpu.0"]
        return number_in(_first([place / "load" for place in places]), 0, 1000) / 1000

    def _clock_hz(self) -> float:
        return float(number_in(self._devfreq() / "cur_freq", 1))

    def _memory_clock_hz(self) -> float:
        for_root_only = self._sys / "kernel/debug/bpmp/debug/clk/emc/rate"
        return float(
            number_in(_first([self._sys / "class/devfreq/bwmgr/cur_freq", for_root_only]), 1)
        )

    def _temperature_c(self) -> float:
        if self._zone is None:
            raise UnreadableError(
                f"no {self._sys}/class/thermal/thermal_zone* is of type gpu-thermal"
            )
        return number_in(self._zone / "temp", -50_000, 150_000) / 1000

    def _power_w(self) -> float:
        if not self._rails:
            raise UnreadableError(f"no labelled rail of an ina3221 in {self._sys}/class/hwmon")
        return sum(
            number_in(millivolts, 0) * number_in(milliamperes, -100) / 1e6  # noise about zero
            for millivolts, milliamperes in (self._rails[name] for name in total_of(self._rails))
        )

    def _throttles(self) -> list[str]:
        checks = {"sw_thermal_slowdown": self._too_hot, "over_current": self._over_current}
        found: list[str] = []
        why: list[str] = []
        for name, check in checks.items():
            try:
                found += [name] if check() else []
            except UnreadableError as error:
                why.append(str(error))
        if len(why) == len(checks):
            raise UnreadableError(", ".join(why))
        return found

    def _too_hot(self) -> bool:
        if self._alert is None:
            raise UnreadableError("no cooling device is of type gpu-throttle-alert")
        return number_in(self._alert / "cur_state", 0) > 0

    def _over_current(self) -> bool:
        if not self._counters:
            raise UnreadableError("soctherm_oc counts no over-current events")
        before = self._events
        self._events = sum(number_in(path, 0) for path in self._counters)
        return before is not None and self._events > before

    def _devfreq(self) -> Path:
        if self._gpu is None:
            raise UnreadableError(
                f"no GPU in {self._sys}/class/devfreq (*.gpu, *.ga10b, gpu-gpc-*)"
            )
        return self._gpu

    @functools.cached_property
    def _gpu(self) -> Path | None:
        folders = _inside(self._sys / "class/devfreq")
        return next((path for path in folders if GPU_FOLDER.fullmatch(path.name)), None)

    @functools.cached_property
    def _zone(self) -> Path | None:
        return self._thermal("thermal_zone", GPU_ZONE)

    @functools.cached_property
    def _alert(self) -> Path | None:
        return self._thermal("cooling_device", GPU_ALERT)

    @functools.cached_property
    def _rails(self) -> dict[str, tuple[Path, Path]]:
        """Files of millivolts and milliamperes by label; what has no label is not connected."""
        found: dict[str, tuple[Path, Path]] = {}
        for chip in self._hwmon("ina3221"):
            for channel in (1, 2, 3):
                label = _text_or_none(chip / f"in{channel}_label")
                if label:
                    found[label] = (chip / f"in{channel}_input", chip / f"curr{channel}_input")
        return found

    @functools.cached_property
    def _counters(self) -> list[Path]:
        paths = [path for chip in self._hwmon("soctherm_oc") for path in _inside(chip)]
        return [path for path in paths if re.fullmatch(r"oc\d_event_cnt", path.name)]

    def _hwmon(self, name: str) -> list[Path]:
        chips = _inside(self._sys / "class/hwmon")
        return [chip for chip in chips if _text_or_none(chip / "name") == name]

    def _thermal(self, prefix: str, kind: re.Pattern[str]) -> Path | None:
        for path in _inside(self._sys / "class/thermal"):
            if path.name.startswith(prefix) and kind.fullmatch(_text_or_none(path / "type") or ""):
                return path
        return None


def total_of(rails: Iterable[str]) -> tuple[str, ...]:
    """The rails that add up to what the module takes. Raises UnreadableError where none do."""
    labels = set(rails)
    for names in TOTALS:
        if labels.issuperset(names):
            return names
    raise UnreadableError(f"no total among the rails {', '.join(sorted(labels))}")


def number_in(path: Path, low: int, high: int = 10**12) -> int:
    """The whole number in a file. Raises UnreadableError where there is none from low to high."""
    text = text_of(path)
    try:
        value = int(text)
    except ValueError:
        raise UnreadableError(f"no number in {path}: {text[:40]!r}") from None
    if not low <= value <= high:
        raise UnreadableError(f"nonsense in {path}: {value}")
    return value


def text_of(path: Path) -> str:
    """The text of a small file without NULs and space around it. Raises UnreadableError.

    One plain read: a zone whose GPU sleeps answers EAGAIN, of which Python's file objects make a
    TypeError.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(file, READ_AT_MOST).decode(errors="replace").strip(" \n\t\0")
        finally:
            os.close(file)
    except FileNotFoundError:
        raise UnreadableError(f"no {path}") from None
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    if not text:
        raise UnreadableError(f"{path} is empty")
    return text


def _text_or_none(path: Path) -> str | None:
    try:
        return text_of(path)
    except UnreadableError:
        return None


def _match(pattern: re.Pattern[str], path: Path) -> re.Match[str]:
    found = pattern.search(text_of(path))
    if not found:
        raise UnreadableError(f"no {pattern.pattern!r} in {path}")
    return found


def _first(paths: list[Path]) -> Path:
    """The first that is there; `os.path.exists` is False where we may not even look."""
    for path in paths:
        if os.path.exists(path):
            return path
    raise UnreadableError(f"no readable {' nor '.join(map(str, paths))}")


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
