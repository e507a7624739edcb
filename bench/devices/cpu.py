"""The processor: what it is, how much of it this process may use, its clock and its memory."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import time
from contextlib import AbstractContextManager
from pathlib import Path

from bench.records import Case, Chip

GIB = 2**30


class Cpu:
    """Any processor that torch runs on."""

    name = "cpu"
    torch_device = "cpu"

    def __init__(self) -> None:
        self._resident_at_open = 0

    def identify(self) -> Chip:
        """Ask py-cpuinfo (about a second) and psutil."""
        import cpuinfo
        import psutil

        info = cpuinfo.get_cpu_info()
        flags = {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve"}
        return Chip(
            device=self.name,
            kind="cpu",
            name=tidy_brand(info.get("brand_raw") or platform.processor() or platform.machine()),
            threads=usable_cpus(),
            facts={
                "architecture": platform.machine(),
                "logical_cores": psutil.cpu_count(),
                "physical_cores": psutil.cpu_count(logical=False),
                "memory_gib": round(psutil.virtual_memory().total / GIB),
                "instructions": " ".join(sorted(flags & set(info.get("flags", [])))),
            },
        )

    def state(self) -> dict[str, str | int | float | None]:
        """Load, governor and quota."""
        return {
            "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "quota_cpus": cgroup_quota(),
            "affinity_cpus": affinity(),
        }

    def preload(self) -> None:
        """Import torch and timm."""
        import_torch()

    def session(self, case: Case) -> AbstractContextManager[object]:
        """Set the number of threads; inference mode."""
        import torch

        torch.set_num_threads(case.threads)
        self._resident_at_open = _status_bytes("VmRSS")
        return torch.inference_mode()

    def now(self) -> float:
        """A CPU has no queue to wait for."""
        return time.perf_counter()

    def reset_peak_memory(self) -> None:
        """Where the kernel lets us; elsewhere the peak counts from the start of the process."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak_memory_bytes(self) -> int | None:
        """Peak resident set beyond that of the process before it built anything."""
        peak = _status_bytes("VmHWM")
        return max(peak - self._resident_at_open, 0) if peak else None


def import_torch() -> None:
    """Import torch, timm and what torch itself imports late, so that forked children need not."""
    import timm  # noqa: F401
    import torch

    torch.nn.Conv2d(3, 3, 1, device="meta")(torch.empty(1, 3, 1, 1, device="meta"))


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may really use: affinity, and the cgroup's quota rounded up."""
    quota = cgroup_quota(root)
    allowed = affinity()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def affinity() -> int:
    """CPUs that the scheduler may place this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """The tightest CPU quota of this process's cgroups, in CPUs; None where none is set.

    Reads v2 `cpu.max` and v1 `cpu.cfs_quota_us`, of the process's own group and all above it.
    """
    quotas = [
        quota
        for folder in _cgroup_folders(root)
        if (quota := _quota_v2(folder) or _quota_v1(folder)) is not None
    ]
    return min(quotas, default=None)


def _cgroup_folders(root: Path) -> list[Path]:
    mount = root / "sys/fs/cgroup"
    folders = [mount, mount / "cpu", mount / "cpu,cpuacct"]
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount / controllers if controllers else mount
        inner = base / path.lstrip("/")
        folders += [inner, *[up for up in inner.parents if up.is_relative_to(base)]]
    return list(dict.fromkeys(folders))


def _quota_v2(folder: Path) -> float | None:
    words = (_read(folder / "cpu.max") or "").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def tidy_brand(brand: str) -> str:
    """`Intel(R) Xeon(R) Platinum 8260 CPU @ 2.40GHz` to `Intel Xeon Platinum 8260`."""
    brand = re.sub(r"\((R|TM|r|tm)\)|\bCPU\b|\bProcessor\b|@.*$|\d+-Core\b", " ", brand)
    return " ".join(brand.split())


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _status_bytes(field: str) -> int:
    """A field of /proc/self/status in bytes; 0 where there is no such file."""
    for line in (_read("/proc/self/status") or "").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
