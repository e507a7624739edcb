"""Orin boards built from what public dumps and bug reports tell, with files that answer errors.

The comment of each board says what is from its source. The rest is invented, in the layout of its
JetPack. No board was copied whole, and the text of the files is ours.
"""

from __future__ import annotations

import errno

from support.jetson_trees import (
    AGX_MODES,
    AGX_RAILS,
    EMC,
    EVENTS,
    HWMON,
    MODE,
    MODES,
    MODULE_RAILS,
    NANO_MODES,
    NX_MODES,
    RELEASE,
    THERMAL,
    Tree,
    events,
    gpu,
    modes,
    module,
    rails,
    release,
    thermal,
)

NEW_NAMES = (
    36  # the major number of L4T from which devfreq folders and thermal zones have their new names
)
DLA_ZONES = [f"{THERMAL}/thermal_zone{number}" for number in (2, 3, 4)]


def board(
    model: str,
    part: str,
    memory_kib: int,
    l4t: tuple[int, str],
    mode: tuple[list[str], int],
    clocks_mhz: tuple[float, float, float],
    *,
    load: int = 512,
    temperature: int = 48_000,
    over_currents: tuple[int, int, int] = (0, 0, 0),
    power: dict[str, list[tuple[str, int, int]]] = MODULE_RAILS,
    errors: dict[str, int] | None = None,
    without: tuple[str, ...] = (),
) -> Tree:
    """Return the tree of an Orin.

    `part` may end in `-super`. `mode` has the names of the power modes and the number of the
    current one; `clocks_mhz` the lowest, the current and the highest clock of the GPU, and
    `temperature` its m°C. A GPU at -256000 sleeps. `without` are paths that the board lacks.
    """
    major, revision = l4t
    folder = "17000000.gpu" if major >= NEW_NAMES else "17000000.ga10b"
    low, clock, high = (round(mhz * 1e6) for mhz in clocks_mhz)
    name = "cv{}-thermal" if major >= NEW_NAMES else "CV{}-therm"
    files = {
        **module(model, part, memory_kib),
        RELEASE: release(major, revision),
        MODES: modes(mode[0]),
        MODE: f"pmode:{mode[1]:04}\n",
        **gpu(folder, low, clock, high, load),
        **thermal("gpu-thermal" if major >= NEW_NAMES else "GPU-therm", temperature),
        **{f"{zone}/type": name.format(n) + "\n" for n, zone in enumerate(DLA_ZONES)},
        **{f"{zone}/temp": "-256000\n" for zone in DLA_ZONES},
        **rails(power),
        **(events(*over_currents) if major >= NEW_NAMES else {}),
    }
    kept = {path: text for path, text in files.items() if path not in without}
    zone = f"{THERMAL}/thermal_zone1"
    return Tree(kept, f"sys/class/devfreq/{folder}", zone, errors or {})


def unconnected(chip: str) -> dict[str, int]:
    """Errors of channels 1 and 3 of an INA3221 that are not connected."""
    names = [f"{kind}{channel}_input" for kind in ("in", "curr") for channel in (1, 3)]
    return {f"{HWMON}/{chip}/{name}": errno.ENODATA for name in names}


# An Orin Nano has no DLA and no PVA, and their zones return an error (prometheus/node_exporter
# #3071).
NO_DLA = {f"{zone}/temp": errno.EAGAIN for zone in DLA_ZONES}
AGX = "NVIDIA Jetson AGX Orin Developer Kit"
NANO_SUPER = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
NX_SUPER = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super"

BOARDS = {
    # rbonghi/jetson_stats #350: below 45 °C the zone has -256 °C, and the clock is 0.
    "JetPack 5, AGX Orin asleep": board(
        "Jetson AGX Orin Developer Kit",
        "p3701-0000",
        31_357_060,
        (35, "1.0"),
        (AGX_MODES, 0),
        (306, 0, 1300.5),
        load=0,
        temperature=-256_000,
        power=AGX_RAILS,
    ),
    # Reports of jetson_release: Orin NX Developer Kit, L4T 35.4.1, mode 3 (25W).
    "JetPack 5, Orin NX": board(
        "NVIDIA Orin NX Developer Kit",
        "p3767-0000",
        15_889_600,
        (35, "4.1"),
        (["MAXN", "10W", "15W", "25W"], 3),
        (306, 408, 408),
    ),
    # A report on throttling (L4T 36.4.4): clocks locked, 27,390 events of OC3 in an hour, no
    # other events, and INA3221 at 5.0 V.
    "JetPack 6, Orin Nano Super": board(
        NANO_SUPER,
        "p3767-0005-super",
        7_802_360,
        (36, "4.4"),
        (NANO_MODES, 2),
        (1020, 1020, 1020),
        over_currents=(0, 0, 27_390),
        errors=NO_DLA,
    ),
    # An inventory of an Orin NX of 8 GB, which runs with the device tree of 16 GB (L4T 36.4.7).
    "JetPack 6, Orin NX Super 8GB": board(
        NX_SUPER,
        "p3767-0000-super",
        7_759_462,
        (36, "4.7"),
        (NX_MODES, 0),
        (306, 306, 1173),
        errors=NO_DLA,
    ),
    # Dump of ina3221@41 of an AGX Orin (alumet-dev/alumet #212): a channel that is not connected
    # returns an error; that it is ENODATA is from the kernel's driver. Counters of another report.
    "JetPack 6, AGX Orin 32GB": board(
        AGX,
        "p3701-0004",
        31_357_060,
        (36, "4.3"),
        (["MAXN", "MODE_15W", "MODE_30W", "MODE_40W"], 2),
        (306, 612, 612),
        over_currents=(0, 15, 37),
        power=AGX_RAILS,
        errors=unconnected("hwmon3"),
    ),
    # The Orin Nano Super in a container without /var/lib/nvpmodel and /etc/nvpmodel.conf.
    "JetPack 6, Orin Nano Super in a container": board(
        NANO_SUPER,
        "p3767-0005-super",
        7_802_360,
        (36, "4.4"),
        (NANO_MODES, 2),
        (306, 306, 1020),
        errors=NO_DLA,
        without=(MODE, MODES),
    ),
    # The same board under a Linux of its own, such as Yocto's, without the file of the release.
    "An Orin Nano Super without its release": board(
        NANO_SUPER,
        "p3767-0005-super",
        7_802_360,
        (36, "4.4"),
        (NANO_MODES, 2),
        (306, 306, 1020),
        errors=NO_DLA,
        without=(MODE, MODES, RELEASE),
    ),
    # An invented board whose files are for root only: debugfs is so by default.
    "JetPack 6, Orin NX read by a user": board(
        NX_SUPER,
        "p3767-0000-super",
        15_655_600,
        (36, "4.7"),
        (NX_MODES, 4),
        (306, 918, 918),
        errors=dict.fromkeys([MODE, EMC, *EVENTS, f"{HWMON}/hwmon1/curr1_input"], errno.EACCES),
    ),
    # rbonghi/jetson_stats #867: L4T 39.2 keeps the files of the GPU. The kernel has no label for
    # a channel that the device tree disables.
    "JetPack 7, AGX Orin": board(
        AGX,
        "p3701-0005",
        64_349_936,
        (39, "2.0"),
        (AGX_MODES, 0),
        (1300.5, 1300.5, 1300.5),
        power=AGX_RAILS,
        errors=unconnected("hwmon3"),
        without=(f"{HWMON}/hwmon3/in1_label", f"{HWMON}/hwmon3/in3_label"),
    ),
    "JetPack 7, Orin Nano Super": board(
        NANO_SUPER,
        "p3767-0005-super",
        7_802_360,
        (39, "2.1"),
        (NANO_MODES, 0),
        (306, 306, 611),
        errors=NO_DLA,
    ),
}
