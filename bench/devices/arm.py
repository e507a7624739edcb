"""Names of Arm's CPUs, from the implementer and part numbers that the kernel reads from the chip.

The kernel of a Jetson calls each of its CPUs `ARMv8 Processor rev 1 (v8l)`, and another kernel on
the same chip gives no name at all. The numbers are the same in both.
"""

from __future__ import annotations

import re
from pathlib import Path

# Part numbers by implementer. Sources: the technical reference manuals (register MIDR_EL1) and
# arch/arm64/include/asm/cputype.h of Linux.
PARTS = {
    0x41: {  # Arm
        0xD03: "Cortex-A53",
        0xD04: "Cortex-A35",
        0xD05: "Cortex-A55",
        0xD07: "Cortex-A57",
        0xD08: "Cortex-A72",
        0xD09: "Cortex-A73",
        0xD0A: "Cortex-A75",
        0xD0B: "Cortex-A76",
        0xD0C: "Neoverse-N1",
        0xD0D: "Cortex-A77",
        0xD0E: "Cortex-A76AE",
        0xD40: "Neoverse-V1",
        0xD41: "Cortex-A78",
        0xD42: "Cortex-A78AE",
        0xD44: "Cortex-X1",
        0xD46: "Cortex-A510",
        0xD47: "Cortex-A710",
        0xD48: "Cortex-X2",
        0xD49: "Neoverse-N2",
        0xD4B: "Cortex-A78C",
        0xD4D: "Cortex-A715",
        0xD4E: "Cortex-X3",
        0xD4F: "Neoverse-V2",
        0xD80: "Cortex-A520",
        0xD81: "Cortex-A720",
        0xD82: "Cortex-X4",
        0xD83: "Neoverse-V3AE",
        0xD84: "Neoverse-V3",
    },
    0x42: {0x516: "ThunderX2"},  # Broadcom
    0x43: {0x0AF: "ThunderX2"},  # Cavium
    0x46: {0x001: "A64FX"},  # Fujitsu
    0x48: {0xD01: "Kunpeng-920"},  # HiSilicon
    0x4E: {0x003: "Denver 2", 0x004: "Carmel"},  # NVIDIA
    0xC0: {0xAC3: "Ampere-1", 0xAC4: "Ampere-1a"},  # Ampere
}
FIELD = re.compile(r"^CPU (implementer|part)\s*:\s*(0x[0-9a-fA-F]+)\s*$", re.MULTILINE)


def chip_name(root: Path = Path("/")) -> str | None:
    """Return the board and its kinds of CPU: `NVIDIA Jetson AGX Orin Developer Kit, Cortex-A78AE`.

    The board is the device tree's `model`, which a server lacks. A kind of CPU that is not in PARTS
    is named by its numbers, such as `CPU 0x41/0xfff`. Returns None on a machine without Arm CPUs.
    """
    fields = FIELD.findall(_text(root / "proc/cpuinfo"))
    implementers = [int(value, 16) for name, value in fields if name == "implementer"]
    parts = [int(value, 16) for name, value in fields if name == "part"]
    kinds = dict.fromkeys(zip(implementers, parts, strict=False))
    if not kinds:
        return None
    names = " + ".join(
        PARTS.get(implementer, {}).get(part, f"CPU {implementer:#x}/{part:#05x}")
        for implementer, part in kinds
    )
    board = _text(root / "proc/device-tree/model").strip("\0 \n")
    return f"{board}, {names}" if board else names


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
