"""Files of /sys, /proc and /etc of Jetson boards, as their JetPack releases lay them out.

The numbers come from boards under load. Links below `class` on a board are files here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from support.paths import write_tree


class Tree(NamedTuple):
    """The files of a board, and the two paths that depend on the JetPack release.

    `errors` has the error number of each file that cannot be opened (EACCES) or read.
    """

    files: dict[str, str]
    gpu: str
    zone: str
    errors: Mapping[str, int] = MappingProxyType({})

    def plant(self, root: Path, monkeypatch) -> Path:
        """Write the files below `root`, whose errors occur in this process; return `root`."""
        write_tree(root, self.files | dict.fromkeys(self.errors, "0\n"))
        really_open, really_read = os.open, os.read

        def raise_error(path, refused):
            code = self.errors.get(os.path.relpath(path, root), 0)
            if code and (code == errno.EACCES) == refused:
                raise OSError(code, os.strerror(code), str(path))

        def open_or_refuse(path, *arguments, **options):
            raise_error(path, True)
            return really_open(path, *arguments, **options)

        def read_or_fail(file, most):
            raise_error(os.readlink(f"/proc/self/fd/{file}"), False)
            return really_read(file, most)

        monkeypatch.setattr(os, "open", open_or_refuse)
        monkeypatch.setattr(os, "read", read_or_fail)
        return root


HWMON = "sys/class/hwmon"
THERMAL = "sys/class/thermal"
MODEL = "proc/device-tree/model"
COMPATIBLE = "proc/device-tree/compatible"
RELEASE = "etc/nv_tegra_release"
MODES = "etc/nvpmodel.conf"
MODE = "var/lib/nvpmodel/status"
EMC = "sys/kernel/debug/bpmp/debug/clk/emc/rate"
BANDWIDTH = "sys/class/devfreq/bwmgr/cur_freq"
ALERT = f"{THERMAL}/cooling_device4/cur_state"
EVENTS = [f"{HWMON}/hwmon5/oc{index}_event_cnt" for index in (1, 2, 3)]

AGX_MODES = ["MAXN", "MODE_15W", "MODE_30W", "MODE_50W"]
NANO_MODES = ["15W", "25W", "MAXN_SUPER", "7W"]
NX_MODES = ["MAXN_SUPER", "10W", "15W", "25W", "40W"]

AGX_RAILS = {
    "hwmon2": [
        ("VDD_GPU_SOC", 18864, 6170),
        ("VDD_CPU_CV", 18872, 437),
        ("VIN_SYS_5V0", 4968, 953),
    ],
    "hwmon3": [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4960, 341), ("NC", 0, 0)],
}
AGX_POWER_W = (18864 * 6170 + 18872 * 437 + 4968 * 953) / 1e6
MODULE_RAILS = {
    "hwmon1": [("VDD_IN", 4984, 1856), ("VDD_CPU_GPU_CV", 4984, 720), ("VDD_SOC", 4984, 416)]
}
MODULE_POWER_W = 4984 * 1856 / 1e6
THOR_RAILS = {
    "hwmon2": [("VDD_GPU", 19700, 745), ("VDD_CPU_SOC_MSS", 19700, 900), ("VIN_SYS_5V0", 4968, 953)]
}


def release(major: int, revision: str) -> str:
    return (
        f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
        "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
    )


def modes(names: list[str]) -> str:
    """Return nvpmodel.conf with these power modes, and with blocks that `bench` must skip."""
    blocks = [
        f"< POWER_MODEL ID={number} NAME={name} >\nCPU_ONLINE CORE_0 1\nGPU MAX_FREQ -1\n"
        for number, name in enumerate(names)
    ]
    head = "#\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\nCORE_0 /sys/devices/system/cpu/cpu0/online\n\n"
    return head + "\n".join(blocks) + "\n< PM_CONFIG DEFAULT=2 >\n"


def rails(chips: dict[str, list[tuple[str, int, int]]]) -> dict[str, str]:
    files = {f"{HWMON}/hwmon0/name": "pwmfan\n"}
    for chip, channels in chips.items():
        files[f"{HWMON}/{chip}/name"] = "ina3221\n"
        files[f"{HWMON}/{chip}/in7_label"] = "sum of shunt voltages\n"
        for channel, (label, millivolts, milliamperes) in enumerate(channels, 1):
            files[f"{HWMON}/{chip}/in{channel}_label"] = f"{label}\n"
            files[f"{HWMON}/{chip}/in{channel}_input"] = f"{millivolts}\n"
            files[f"{HWMON}/{chip}/curr{channel}_input"] = f"{milliamperes}\n"
    return files


def thermal(gpu_zone: str, millidegrees: int) -> dict[str, str]:
    return {
        f"{THERMAL}/thermal_zone0/type": gpu_zone.lower().replace("gpu", "cpu") + "\n",
        f"{THERMAL}/thermal_zone0/temp": "61000\n",
        f"{THERMAL}/thermal_zone1/type": f"{gpu_zone}\n",
        f"{THERMAL}/thermal_zone1/temp": f"{millidegrees}\n",
        f"{THERMAL}/cooling_device0/type": "pwm-fan\n",
        f"{THERMAL}/cooling_device0/cur_state": "3\n",
        f"{THERMAL}/cooling_device4/type": "gpu-throttle-alert\n",
        ALERT: "0\n",
    }


def gpu(name: str, lowest: int, clock: int, highest: int, load: int | None) -> dict[str, str]:
    folder = f"sys/class/devfreq/{name}"
    files = {
        f"{folder}/min_freq": f"{lowest}\n",
        f"{folder}/cur_freq": f"{clock}\n",
        f"{folder}/max_freq": f"{highest}\n",
        "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    }
    return files if load is None else {**files, f"{folder}/device/load": f"{load}\n"}


def events(*counts: int) -> dict[str, str]:
    counted = {path: f"{count}\n" for path, count in zip(EVENTS, counts, strict=True)}
    return {f"{HWMON}/hwmon5/name": "soctherm_oc\n", **counted}


def module(model: str, part: str, memory_kib: int, chip: str = "tegra234") -> dict[str, str]:
    """Return the files of a module on its developer kit; `part` may end in `-super`."""
    carrier = {"p3701": "p3737", "p3767": "p3768", "p3834": "p4071"}[part[:5]] + "-0000"
    part_alone = part.removesuffix("-super")
    return {
        MODEL: f"{model}\0",
        COMPATIBLE: f"nvidia,{carrier}+{part}\0nvidia,{part_alone}\0nvidia,{chip}\0",
        "proc/meminfo": f"MemTotal:       {memory_kib} kB\nMemFree:         1234567 kB\n",
    }


TREES = {
    "JetPack 5, AGX Orin": Tree(
        {
            **module("NVIDIA Jetson AGX Orin Developer Kit", "p3701-0000", 31_357_060),
            RELEASE: release(35, "4.1"),
            MODES: modes(AGX_MODES),
            MODE: "pmode:0003",
            **gpu("17000000.ga10b", 306_000_000, 624_750_000, 828_750_000, 734),
            **thermal("GPU-therm", 46_218),
            **rails(AGX_RAILS),
            EMC: "3199000000\n",
        },
        gpu="sys/class/devfreq/17000000.ga10b",
        zone=f"{THERMAL}/thermal_zone1",
    ),
    "JetPack 6, AGX Orin": Tree(
        {
            **module("NVIDIA Jetson AGX Orin Developer Kit", "p3701-0005", 64_349_936),
            RELEASE: release(36, "4.3"),
            MODES: modes(AGX_MODES),
            MODE: "pmode:0000",
            **gpu("17000000.gpu", 1_300_500_000, 1_300_500_000, 1_300_500_000, 1000),
            **thermal("gpu-thermal", 58_500),
            **rails(AGX_RAILS),
            **events(0, 15, 37),
            EMC: "3199000000\n",
        },
        gpu="sys/class/devfreq/17000000.gpu",
        zone=f"{THERMAL}/thermal_zone1",
    ),
    "JetPack 6, Orin Nano 8GB": Tree(
        {
            **module(
                "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
                "p3767-0005",
                7_802_360,
            ),
            RELEASE: release(36, "4.4"),
            MODES: modes(NANO_MODES),
            MODE: "pmode:0002",
            **gpu("17000000.gpu", 306_000_000, 1_020_000_000, 1_020_000_000, 0),
            **thermal("gpu-thermal", 51_250),
            **rails(MODULE_RAILS),
            **events(0, 0, 27_390),
        },
        gpu="sys/class/devfreq/17000000.gpu",
        zone=f"{THERMAL}/thermal_zone1",
    ),
    "JetPack 7, Orin NX": Tree(
        {
            **module(
                "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
                "p3767-0000",
                15_900_000,
            ),
            RELEASE: release(39, "2.0"),
            MODES: modes(NX_MODES),
            MODE: "pmode:0004\n",
            **gpu("17000000.gpu", 306_000_000, 918_000_000, 918_000_000, 512),
            **thermal("gpu-thermal", 55_062),
            **rails(MODULE_RAILS),
            **events(0, 0, 0),
            BANDWIDTH: "3199000000\n",
        },
        gpu="sys/class/devfreq/17000000.gpu",
        zone=f"{THERMAL}/thermal_zone1",
    ),
    "JetPack 7, AGX Thor": Tree(
        {
            **module("NVIDIA Jetson AGX Thor Developer Kit", "p3834-0008", 128_790_092, "tegra264"),
            RELEASE: release(38, "2.0"),
            MODES: modes(["MAXN", "120W"]),
            MODE: "pmode:0001",
            **gpu("gpu-gpc-0", 306_000_000, 1_575_000_000, 1_575_000_000, None),
            "sys/class/devfreq/gpu-nvd-0/cur_freq": "1692000000\n",
            **thermal("gpu-thermal", 64_500),
            **rails(THOR_RAILS),
            **events(0, 8, 813),
            BANDWIDTH: "4266000000\n",
        },
        gpu="sys/class/devfreq/gpu-gpc-0",
        zone=f"{THERMAL}/thermal_zone1",
    ),
}
