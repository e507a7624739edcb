"""The processor as a device: what it is, and how a child times with it."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from bench.devices import precision
from bench.devices.driver import Kind, Script, Speed
from bench.devices.host import Host, status_bytes, tidy_brand, usable_cpus
from bench.devices.kernels import CPU, CPU_PEAK, Kernels, torch_kernels
from bench.devices.sensors.sensor import Memory, Sensor
from bench.records import Case, Chip, Reading, Setting
from bench.text import GIB

SPEED = Speed(macs_per_s=35e9, macs_per_s_large=16e9, per_thread=True)
INSTRUCTIONS = {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve"}


class Cpu:
    """Any processor that torch runs on."""

    name = "cpu"
    kind: Kind = "cpu"
    torch_device = "cpu"
    runs_torch = True
    has_queue = False
    is_shared = False
    clock_follows_load = False
    speed = SPEED
    own_models: Container[str] = frozenset()

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def identify(self) -> Chip:
        """Ask py-cpuinfo (about a second) and psutil."""
        import cpuinfo
        import psutil

        info = cpuinfo.get_cpu_info()
        return Chip(
            device=self.name,
            kind=self.kind,
            name=tidy_brand(info.get("brand_raw") or platform.processor() or platform.machine()),
            threads=usable_cpus(),
            facts={
                "architecture": platform.machine(),
                "logical_cores": psutil.cpu_count(),
                "physical_cores": psutil.cpu_count(logical=False),
                "memory_gib": round(psutil.virtual_memory().total / GIB),
                "instructions": " ".join(sorted(INSTRUCTIONS & set(info.get("flags", [])))),
            },
        )

    def prove(self, chip: Chip) -> None:
        """Every build of torch computes on a CPU."""

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """A CPU has no TF32 units."""
        return "TF32 is a mode of NVIDIA GPUs" if name == "tf32" else None

    def state(self) -> dict[str, str | int | float | None]:
        """Load, governor and quota."""
        return Host(self._root).state()

    def free_bytes(self) -> int | None:
        """Memory that is available without swapping."""
        return Host(self._root).free_bytes()

    def foreign_processes(self) -> int | None:
        """Not counted: the CPU time of other processes is sensed instead."""
        return None

    def preload(self) -> None:
        """Import torch and timm."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[CpuSession]:
        """Set the number of threads and the switches of the precision; inference mode."""
        import torch

        precision.set_switches(case.precision)
        torch.set_num_threads(case.threads)
        with torch.inference_mode():
            yield CpuSession(Host(self._root))


class CpuSession:
    """Times on the host's clock; memory is the resident set of this process."""

    torch_device = "cpu"
    has_queue = False
    peak_work = CPU_PEAK
    script: Script | None = None

    def __init__(self, host: Host) -> None:
        self._host = host
        self._resident_at_open = status_bytes("VmRSS")

    def now(self) -> float:
        """A CPU has no queue to wait for."""
        return time.perf_counter()

    def kernels(self) -> Kernels:
        """On the case's threads."""
        kernels = torch_kernels(CPU, self.torch_device)
        self._resident_at_open = status_bytes("VmRSS")
        return kernels

    def sense(self) -> Reading:
        """The host's counters and clocks."""
        return self._host.sense()

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """None: a CPU has no clock but the host's."""
        return []

    def sensor(self) -> Sensor | None:
        """None: `sense` reads enough."""
        return None

    def settings(self) -> dict[str, Setting]:
        """Threads of torch, and the instructions that it may use."""
        import torch

        return {
            "threads": torch.get_num_threads(),
            "mkldnn": bool(torch.backends.mkldnn.enabled),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            **precision.switches(),
        }

    def reset_peak_memory(self) -> None:
        """Where the kernel allows it; elsewhere the peak counts from the start of the process."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def memory(self) -> Memory:
        """Peak resident set beyond what the process held before it built a network."""
        peak = status_bytes("VmHWM")
        return Memory(max(peak - self._resident_at_open, 0) if peak else None)


def import_torch() -> None:
    """Import torch, timm and what torch itself imports late, so that forked children need not."""
    import timm  # noqa: F401
    import torch

    torch.nn.Conv2d(3, 3, 1, device="meta")(torch.empty(1, 3, 1, 1, device="meta"))
