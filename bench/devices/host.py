"""The host's CPUs and memory: limits of this process, and the current load.

The values are from /proc, /sys and the cgroups (v1 and v2) of this process.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import resource
from pathlib import Path
from typing import NamedTuple

from bench.devices import clocks
from bench.devices.threads import JIFFY_S, read_threads
from bench.records import Reading
from bench.text import GIB

CLOCKS_READ = 8  # maximum number of CPUs to read; each read may interrupt the CPU


class Host:
    """The machine whose files are below `root`; only tests use another root than /."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def state(self) -> dict[str, str | int | float | None]:
        """Return load average, frequency governor, CPU quota and affinity."""
        return {
            "load_1min": load(),
            "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "quota_cpus": cgroup_quota(),
            "affinity_cpus": affinity(),
        }

    def free_bytes(self) -> int | None:
        """Return the bytes of memory that are available without swapping; None if unknown."""
        import psutil

        with contextlib.suppress(OSError):  # no /proc
            return int(psutil.virtual_memory().available)
        return None

    def sense(self) -> Reading:
        """Read CPU time (/proc/stat), throttling of the cgroup, clocks and thermal events."""
        missing: dict[str, str] = {}
        busy, stolen = self._cpu_seconds()
        if busy is None:
            missing["busy_cpu_s"] = missing["stolen_cpu_s"] = "no /proc/stat"
        clock = self._clock_hz()
        if clock is None:
            missing["clock_hz"] = "no cpufreq, as in most virtual machines"
        throttled_s, periods = self._throttled()
        threads = read_threads(self._root)
        if not threads.seconds:
            missing["thread_s"] = "no /proc/self/task"
        used, allowed = own_usage(), frozenset(allowed_cpus())
        return Reading(
            at_s=clocks.monotonic(),
            cpus=len(allowed),
            cpu_list=allowed,
            own_cpu_s=used.cpu_s,
            busy_cpu_s=busy,
            stolen_cpu_s=stolen,
            throttled_s=throttled_s,
            throttled_periods=periods,
            overheated=self._overheated(),
            page_faults=used.page_faults,
            clock_hz=clock,
            power_mode=_read(self._cpu_folder(0) / "cpufreq/scaling_governor"),
            thread_s=threads.seconds,
            counts_waits=threads.count_waits,
            missing=missing,
        )

    def _cpu_folder(self, index: int) -> Path:
        return self._root / f"sys/devices/system/cpu/cpu{index}"

    def _cpu_seconds(self) -> tuple[float | None, float | None]:
        """Return busy and stolen seconds of the allowed CPUs; None if they cannot be read."""
        busy = stolen = 0
        mine = {f"cpu{index}" for index in allowed_cpus()}
        seen = False
        for line in (_read(self._root / "proc/stat") or "").splitlines():
            name, *jiffies = line.split()
            if name in mine and len(jiffies) >= 8:
                user, nice, system, _, _, irq, softirq, steal = map(int, jiffies[:8])
                busy += user + nice + system + irq + softirq
                stolen += steal
                seen = True
        return (busy * JIFFY_S, stolen * JIFFY_S) if seen else (None, None)

    def _throttled(self) -> tuple[float | None, int | None]:
        """Return seconds and number of periods in which a quota stopped the process's cgroups."""
        seconds: list[float] = []
        periods: list[int] = []
        for path in self._cpu_stats:
            words = (_read(path) or "").split()
            known = dict(zip(words[::2], words[1::2], strict=False))
            if "nr_throttled" in known:
                periods.append(int(known["nr_throttled"]))
                micros = float(known.get("throttled_usec", 0))
                seconds.append(micros / 1e6 + float(known.get("throttled_time", 0)) / 1e9)
        return (sum(seconds), sum(periods)) if periods else (None, None)

    @functools.cached_property
    def _cpu_stats(self) -> list[Path]:
        found = {
            path.resolve()
            for folder in _cgroup_folders(self._root)
            for path in [folder / "cpu.stat"]
            if path.exists()
        }
        return sorted(found)

    def _clock_hz(self) -> float | None:
        """Return the highest clock of the allowed CPUs in Hz: an idle CPU may have a low clock."""
        texts = [
            _read(self._cpu_folder(index) / "cpufreq/scaling_cur_freq")
            for index in sorted(allowed_cpus())[:CLOCKS_READ]
        ]
        return max((int(t) * 1e3 for t in texts if t and t.isdigit() and int(t)), default=None)

    def _overheated(self) -> int | None:
        """Return the number of thermal events of the allowed CPUs; None if not counted."""
        texts = [
            _read(self._cpu_folder(index) / "thermal_throttle/core_throttle_count")
            for index in sorted(allowed_cpus())[:CLOCKS_READ]
        ]
        counts = [int(text) for text in texts if text and text.isdigit()]
        return sum(counts) if counts else None


def load() -> float | None:
    """Return the load average of the last minute; None where the system does not tell it."""
    with contextlib.suppress(OSError, AttributeError):  # no /proc; another system than Unix
        return os.getloadavg()[0]
    return None


def physical_cores() -> int | None:
    """Return the number of cores without hyper-threads; None if it cannot be read."""
    import psutil

    with contextlib.suppress(OSError):  # neither /sys nor /proc
        return psutil.cpu_count(logical=False)
    return None


def memory_gib() -> int | None:
    """Return the memory of the machine, rounded to GiB; None if it cannot be read."""
    import psutil

    with contextlib.suppress(OSError):  # no /proc
        return round(psutil.virtual_memory().total / GIB)
    return None


class Usage(NamedTuple):
    """CPU seconds and page faults of this process since its start."""

    cpu_s: float
    page_faults: int


def own_usage() -> Usage:
    """Return the CPU time and page faults of this process, by the kernel."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, used.ru_minflt + used.ru_majflt)


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the number of CPUs that this process can use.

    cpus = max(1, min(affinity, ceil(quota))); without a quota, cpus = affinity.
    """
    quota = cgroup_quota(root)
    allowed = affinity()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def allowed_cpus() -> set[int]:
    """Return the indices of the CPUs that any thread of this process may use.

    OpenMP may bind each thread to another CPU (OMP_PROC_BIND).
    """
    if not hasattr(os, "sched_getaffinity"):
        return set(range(os.cpu_count() or 1))
    allowed = os.sched_getaffinity(0)
    for thread in thread_ids():
        with contextlib.suppress(OSError):  # it has ended
            allowed |= os.sched_getaffinity(thread)
    return allowed


def thread_ids() -> list[int]:
    """Return the numbers of the threads of this process; [] where the system does not list them."""
    try:
        return [int(number) for number in os.listdir("/proc/self/task")]
    except OSError:
        return []


def affinity() -> int:
    """Return the number of CPUs in the affinity mask of this process."""
    return len(allowed_cpus())


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Return the smallest CPU quota of this process's cgroups, in CPUs; None without a quota.

    quota = quota time / period. Reads `cpu.max` (v2) and `cpu.cfs_quota_us` (v1) in the cgroup of
    the process and all its parents.
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
    """Shorten `Intel(R) Xeon(R) Platinum 8260 CPU @ 2.40GHz` to `Intel Xeon Platinum 8260`."""
    brand = re.sub(r"\((R|TM|r|tm)\)|\bCPU\b|\bProcessor\b|@.*$|\d+-Core\b", " ", brand)
    return " ".join(brand.split())


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def status_bytes(field: str) -> int:
    """Return a field of /proc/self/status in bytes; 0 if the file or the field does not exist."""
    for line in (_read("/proc/self/status") or "").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
