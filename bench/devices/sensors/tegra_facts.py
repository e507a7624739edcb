"""Facts of a Jetson board: module, Jetson Linux (L4T), JetPack, power mode, memory, SM count.

Each function takes the root of the file system (`/` on a board) and raises UnreadableError.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.devices.sensors.sysfs import UnreadableError, match_in, text_of, text_or_none

L4T = re.compile(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)")
MODE = re.compile(r"pmode:(\d+)")
MODE_NAME = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", re.MULTILINE)
MEMORY = re.compile(r"MemTotal:\s*(\d+) kB")
KIB_IN_GIB = 2**20

# JetPack by L4T release. Source: developer.nvidia.com/embedded/jetpack-archive. For an L4T
# release that is not listed, only the major number of JetPack is known.
RELEASES = """
35.1.0=5.0.2 35.2.1=5.1   35.3.1=5.1.1 35.4.1=5.1.2 35.5.0=5.1.3 35.6.0=5.1.4 35.6.1=5.1.5
35.6.2=5.1.5 35.6.4=5.1.6 36.3.0=6.0   36.4.0=6.1   36.4.3=6.2   36.4.4=6.2.1 36.4.7=6.2.1
36.5.0=6.2.2 38.2.0=7.0   38.4.0=7.1   39.2.0=7.2   39.2.1=7.2.1
"""
JETPACKS = dict(pair.split("=") for pair in RELEASES.split())
JETPACK_MAJORS = {"35": "5", "36": "6", "38": "7", "39": "7"}

# Multiprocessors (128 cores each) of a module as built, by its part number in the device tree's
# `compatible`, else by its name in `model`. The first pattern that matches counts. A power mode
# may switch some multiprocessors off.
SM_COUNTS = [
    (r"p3701-0004|AGX Orin.*\b32\s?GB", 14),
    (r"p3701-000[058]|AGX Orin.*\b64\s?GB", 16),
    (r"p3767-0004|Orin Nano.*\b4\s?GB", 4),
    (r"p3767-000[0135]|Orin NX|Orin Nano.*\b8\s?GB", 8),
]


def module(root: Path) -> str:
    """Return the name of the module in the device tree."""
    return text_of(root / "proc/device-tree/model")


def is_orin(root: Path) -> bool:
    """Whether the chip of the board is an Orin (tegra234); a carrier board may have any name."""
    device_tree = root / "proc/device-tree"
    compatible = text_or_none(device_tree / "compatible") or ""
    return "nvidia,tegra234" in compatible.split("\0") or "Orin" in module(root)


def is_jetson(root: Path) -> bool:
    """Whether the chip is a Tegra of NVIDIA. A container or an own Linux may lack the release."""
    compatible = text_or_none(root / "proc/device-tree/compatible") or ""
    has_tegra = any(name.startswith("nvidia,tegra") for name in compatible.split("\0"))
    return has_tegra or text_or_none(root / "etc/nv_tegra_release") is not None or is_orin(root)


def l4t(root: Path) -> str:
    """Return the release of Jetson Linux, such as `36.4.3`."""
    return ".".join(match_in(L4T, root / "etc/nv_tegra_release").groups())


def jetpack(root: Path) -> str:
    """Return the JetPack of the L4T release, such as `6.2`; if unlisted, its major number."""
    release = l4t(root)
    known = JETPACKS.get(release) or JETPACK_MAJORS.get(release.partition(".")[0])
    if not known:
        raise UnreadableError(f"no JetPack is known for L4T {release}")
    return known


def power_mode(root: Path) -> str:
    """Return the mode of nvpmodel, such as `15W`; `mode 2` for a mode without a name."""
    mode = int(match_in(MODE, root / "var/lib/nvpmodel/status")[1])
    named = MODE_NAME.findall(text_or_none(root / "etc/nvpmodel.conf") or "")
    return {int(number): name for number, name in named}.get(mode, f"mode {mode}")


def memory_gib(root: Path) -> float:
    """Return the GiB of memory that Linux manages; CPU and GPU share it."""
    return round(int(match_in(MEMORY, root / "proc/meminfo")[1]) / KIB_IN_GIB, 1)


def sm_count(root: Path) -> int:
    """Return the number of multiprocessors of the module; the power mode may switch some off."""
    device_tree = root / "proc/device-tree"
    for text in (text_or_none(device_tree / "compatible"), text_or_none(device_tree / "model")):
        for pattern, count in SM_COUNTS:
            if re.search(pattern, text or ""):
                return count
    raise UnreadableError("the device tree does not tell which Orin module this is")
