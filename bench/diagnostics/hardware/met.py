"""Saves what a first contact met, as test data: files of the machine, clocks, readings, traces.

No name and no serial number is kept: `cleaned` replaces them.
"""

from __future__ import annotations

import functools
import getpass
import json
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from bench.diagnostics.hardware.line import Line
from bench.records import Chip
from bench.storage.files import read
from bench.storage.pages import write_pages
from bench.text import mapped, to_json

MOST_BYTES = 2**20  # /proc/cpuinfo has up to 1.7 kB for each CPU of a host
# Files that the drivers read, without those that hold a serial number.
PATTERNS = (
    "proc/device-tree/model",
    "proc/device-tree/compatible",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/driver/nvidia/version",
    "etc/nv_tegra_release",
    "etc/nvpmodel.conf",
    "var/lib/nvpmodel/status",
    "sys/class/devfreq/*/*freq*",
    "sys/class/devfreq/*/device/load",
    "sys/devices/platform/gpu.0/load",
    "sys/kernel/debug/bpmp/debug/clk/emc/rate",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/thermal/cooling_device*/type",
    "sys/class/thermal/cooling_device*/cur_state",
    "sys/class/hwmon/hwmon*/name",
    "sys/class/hwmon/hwmon*/in*_*",
    "sys/class/hwmon/hwmon*/curr*_*",
    "sys/class/hwmon/hwmon*/oc*_*",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_*",
)
UNIQUE = re.compile(
    r"\b(?:GPU|MIG)-[0-9a-fA-F-]{8,}"  # NVML's identifiers
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"  # UUIDs
    r"|\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b"  # addresses of network cards
    r"|(?i:(?<=serial)[^:=\n]*[:=]\s*)\S+"  # `Serial : 1421...`
)
HOME = re.compile(r"/(?:home|Users)/[^/\s\"]+|/root\b")


def save(folder: Path, chip: Chip, lines: Sequence[Line], root: Path = Path("/")) -> list[Path]:
    """Write `tree.json` (files of the machine) and `readings.json`; return their paths."""
    names = _names()
    readings = {"facts": dict(chip.facts), **{line.name: dict(line.raw) for line in lines}}
    pages = {
        "tree.json": to_json(tree(root, names), indent=1),
        "readings.json": _cleaned_json(readings, names, indent=1),
    }
    return write_pages(folder, {name: text.encode() for name, text in pages.items()})


def clean_traces(folder: Path) -> list[Path]:
    """Clean the texts of each trace in `folder`, and return the paths of the traces."""
    names = _names()
    traces = {path.name: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}
    pages = {name: _cleaned_json(trace, names).encode() for name, trace in traces.items()}
    return write_pages(folder, pages) if pages else []


def tree(root: Path, names: Sequence[str]) -> dict[str, str | dict[str, str]]:
    """Return the cleaned text of each file of PATTERNS below `root`, or why it is unreadable."""
    found: dict[str, str | dict[str, str]] = {}
    for pattern in PATTERNS:
        for path in sorted(root.glob(pattern)):
            name = str(path.relative_to(root))
            try:
                found[name] = cleaned(read(path, MOST_BYTES).decode(errors="replace"), names)
            except OSError as error:
                found[name] = {"unreadable": error.strerror or type(error).__name__}
    return found


def cleaned(text: str, names: Sequence[str]) -> str:
    """Return `text` without identifiers, homes, and the `names` of the machine and its user."""
    text = HOME.sub("~", UNIQUE.sub("removed", text))
    for name in names:
        if len(name) > 2:
            text = re.sub(rf"\b{re.escape(name)}\b", "removed", text)
    return text


def _cleaned_json(value: object, names: Sequence[str], indent: int | None = None) -> str:
    """Return `value` as JSON, each text in it cleaned; a trace repeats few texts many times."""
    clean = functools.cache(lambda text: cleaned(text, names))
    return to_json(mapped(value, clean), indent)


def _names() -> list[str]:
    """Return the names of the machine and of its user, which no page may have."""
    return [platform.node(), _user()]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user has no name, as in some containers
        return ""
