"""The CPU as a device: the driver, and the session that times a case."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from bench.devices import allocators, arm, clocks, huge_pages, parallelism, precision
from bench.devices.driver import AlwaysReady, Kind, Script, Speed
from bench.devices.host import (
    Host,
    memory_gib,
    physical_cores,
    status_bytes,
    tidy_brand,
    usable_cpus,
)
from bench.devices.kernels import CPU, CPU_PEAK, Kernels, torch_kernels
from bench.devices.sensors.sensor import Memory, Sensor
from bench.records import Case, Chip, Reading, Setting

SPEED = Speed(macs_per_s=35e9, macs_per_s_large=16e9, per_thread=True)
INSTRUCTIONS = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
INSTRUCTIONS |= {"asimd", "asimddp", "asimdhp", "fphp", "bf16", "i8mm", "sve", "sve2"}  # Arm


class Cpu(AlwaysReady):
    """Any CPU that torch supports."""

    name = "cpu"
    kind: Kind = "cpu"
    torch_device = "cpu"
    runs_torch = True
    has_queue = False
    is_shared = False
    clock_follows_load = False
    uses_malloc = True
    speed = SPEED
    own_models: Container[str] = frozenset()

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def identify(self) -> Chip:
        """Describe the CPU from py-cpuinfo, which takes about a second, and psutil."""
        import cpuinfo
        import psutil

        info = cpuinfo.get_cpu_info()
        brand = info.get("brand_raw") or platform.processor() or platform.machine()
        return Chip(
            device=self.name,
            kind=self.kind,
            name=arm.chip_name(self._root) or tidy_brand(brand),
            threads=usable_cpus(),
            facts={
                "architecture": platform.machine(),
                "logical_cores": psutil.cpu_count(),
                "physical_cores": physical_cores(),
                "memory_gib": memory_gib(),
                "instructions": " ".join(sorted(INSTRUCTIONS & set(info.get("flags", [])))),
            },
        )

    def prove(self, chip: Chip) -> None:
        """Do nothing: every build of torch computes on a CPU."""

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """Return the reason for `tf32`, since a CPU has no TF32 units; otherwise None."""
        return "TF32 is a mode of NVIDIA GPUs" if name == "tf32" else None

    def state(self) -> dict[str, str | int | float | None]:
        """Return load average, frequency governor, CPU quota and affinity."""
        return Host(self._root).state()

    def free_bytes(self) -> int | None:
        """Return the bytes of memory that are available without swapping."""
        return Host(self._root).free_bytes()

    def foreign_processes(self) -> int | None:
        """Return None: `sense` reads the CPU time of other processes instead."""
        return None

    def preload(self) -> None:
        """Import torch and timm."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[CpuSession]:
        """Set allocator, threads and precision of the case, and enter inference mode."""
        import torch

        allocators.apply(case.allocator)
        huge_pages.apply(case.huge_pages)
        precision.set_switches(case.precision)
        torch.set_num_threads(case.threads)
        with torch.inference_mode():
            yield CpuSession(Host(self._root))


class CpuSession:
    """Times with the host's clock. Memory is the resident set size (RSS) of this process."""

    torch_device = "cpu"
    has_queue = False
    peak_work = CPU_PEAK
    script: Script | None = None

    def __init__(self, host: Host) -> None:
        self._host = host
        self._resident_at_open = status_bytes("VmRSS")

    def now(self) -> float:
        """Return the host's monotonic clock in seconds; a CPU has no queue to wait for."""
        return clocks.monotonic()

    def kernels(self) -> Kernels:
        """Return the calibration kernels, which use the threads of the case."""
        kernels = torch_kernels(CPU, self.torch_device)
        self._resident_at_open = status_bytes("VmRSS")
        return kernels

    def sense(self) -> Reading:
        """Read the host's counters and clocks."""
        return self._host.sense()

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """Return no times: a CPU has no clock other than the host's."""
        return []

    def sensor(self) -> Sensor | None:
        """Return None: `sense` reads all that a CPU has."""
        return None

    def settings(self) -> dict[str, Setting]:
        """Return threads, instruction set, memory and switches of torch in this process."""
        import torch

        memory = {"allocator": allocators.found(), "huge_pages": huge_pages.found()}
        return {
            "threads": torch.get_num_threads(),
            "mkldnn": precision.readable(lambda: bool(torch.backends.mkldnn.enabled)),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            **precision.switches(),
            **{name: found for name, found in memory.items() if found is not None},
        }

    def threads_used(self, threads: int) -> float | None:
        """Return the number of threads that compute an operator which has work for `threads`."""
        return parallelism.threads_used(threads)

    def free_memory(self) -> None:
        """Do nothing: `reset_peak_memory` follows before the first call."""

    def reset_peak_memory(self) -> None:
        """Reset the peak RSS. If the kernel refuses, the peak counts from the process start."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def memory(self) -> Memory:
        """Return the peak RSS minus the RSS before the network was built."""
        peak = status_bytes("VmHWM")
        return Memory(max(peak - self._resident_at_open, 0) if peak else None)


def import_packages() -> None:
    """Import torch and timm, as a program with a network of timm does, and no more.

    timm needs torchvision. Where either is missing or built for another torch, a network that needs
    timm says so when it is built.
    """
    import torch  # noqa: F401

    with contextlib.suppress(Exception):
        import timm  # noqa: F401


def import_torch() -> None:
    """Import both, and the modules that torch imports at its first use, before a fork."""
    import_packages()
    import torch

    torch.nn.Conv2d(3, 3, 1, device="meta")(torch.empty(1, 3, 1, 1, device="meta"))
