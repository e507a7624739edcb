"""An NVIDIA GPU through torch.cuda. The driver asks NVML, because NVML does not start CUDA."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import structs

from bench.devices import clocks, precision, proof
from bench.devices.cpu import import_torch
from bench.devices.driver import Kind, Script, Speed
from bench.devices.host import Host, usable_cpus
from bench.devices.kernels import GPU, GPU_PEAK, Kernels, KernelSize, torch_kernels
from bench.devices.sensors import nvml
from bench.devices.sensors.sensor import Memory, MissingSensor, Sensor
from bench.devices.sensors.tegra import Board
from bench.errors import UnavailableError
from bench.records import Case, Chip, Gauges, Reading, Setting

SPEED = Speed(macs_per_s=8e12, macs_per_s_large=8e12, call_s=0.004)


class Cuda:
    """The GPU that torch calls cuda:0."""

    name = "cuda"
    kind: Kind = "gpu"
    torch_device = "cuda"
    runs_torch = True
    has_queue = True
    is_shared = False
    clock_follows_load = True
    uses_malloc = False
    speed = SPEED
    own_models: Container[str] = frozenset()

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def identify(self) -> Chip:
        """Describe the GPU by NVML.

        Raises UnavailableError if there is no driver or no GPU, or on a Jetson Orin, whose sensors
        are not those of a GPU card.

        Sets CUDA_DEVICE_ORDER, so processes that start later number GPUs by PCI bus, like NVML.
        """
        if Board(self._root).is_orin():
            raise UnavailableError("this machine is a Jetson Orin", "Use --device orin.")
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        with nvml.open_gpu() as gpu:
            return Chip(
                device=self.name,
                kind=self.kind,
                name=gpu.name,
                threads=usable_cpus(),
                facts=gpu.facts(),
            )

    def prove(self, chip: Chip) -> None:
        """Raise UnavailableError unless operators on the GPU are correct, in a new process."""
        proof.prove(chip.name)

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """Return the reason if the GPU lacks TF32: it needs compute capability 8.0."""
        capability = str(chip.facts.get("compute_capability") or "")
        return precision.missing_on_nvidia(name, capability)

    def state(self) -> dict[str, str | int | float | None]:
        """Return the state by NVML while the GPU is idle, such as power and clock."""
        with nvml.open_gpu() as gpu:
            return gpu.state()

    def free_bytes(self) -> int | None:
        """Return the free bytes of GPU memory or of host memory, whichever is smaller."""
        with nvml.open_gpu() as gpu:
            known = (gpu.free_bytes(), Host().free_bytes())
        return min((size for size in known if size is not None), default=None)

    def most_children(self) -> int:
        """Return 1 if the GPU's compute mode lets one process compute at a time."""
        with nvml.open_gpu() as gpu:
            return 1 if (gpu.compute_mode() or "").startswith("exclusive") else sys.maxsize

    def keep_ready(self) -> AbstractContextManager[object]:
        """Keep NVML open: without persistence mode, an unused GPU leaves its driver and slows."""
        return contextlib.closing(_open_gpu())

    def foreign_processes(self) -> int | None:
        """Count the processes that use the GPU, by NVML's lists."""
        with nvml.open_gpu() as gpu:
            return gpu.foreign_processes()

    def preload(self) -> None:
        """Import torch and timm; does not start CUDA."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[CudaSession]:
        """Set threads and precision, enter inference mode, and open the sensor."""
        with computing(case), contextlib.closing(_open_gpu()) as sensor:
            yield CudaSession(sensor, GPU)


@contextlib.contextmanager
def computing(case: Case) -> Iterator[None]:
    """Set host threads and precision of the case, and enter inference mode."""
    import torch

    torch.set_num_threads(case.threads)
    precision.set_switches(case.precision)
    with torch.inference_mode():
        yield


class CudaSession:
    """Times with the host's clock after synchronisation, and with CUDA events."""

    torch_device = "cuda"
    has_queue = True
    peak_work = GPU_PEAK
    script: Script | None = None

    def __init__(self, sensor: Sensor, kernel_size: KernelSize) -> None:
        self._host = Host()
        self._sensor = sensor
        self._kernel_size = kernel_size
        self._held_by_kernels = 0

    def now(self) -> float:
        """Wait for all queued work, then return the host's monotonic clock in seconds."""
        import torch

        torch.cuda.synchronize()
        return clocks.monotonic()

    def kernels(self) -> Kernels:
        """Return the calibration kernels on the GPU."""
        import torch

        kernels = torch_kernels(self._kernel_size, self.torch_device)
        self._held_by_kernels = torch.cuda.memory_allocated()
        return kernels

    def sense(self) -> Reading:
        """Read the host's CPUs, and the GPU's clock, temperature, power and throttle reasons."""
        return with_gauges(self._host.sense(), self._sensor.gauges())

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """Return seconds of each call, between CUDA events before and after it.

        All calls are queued, then the host waits once. The times are GPU time alone if the host
        queues faster than the GPU computes. Otherwise, as often at batch 1 in eager mode, they
        include the time in which the GPU waits for launches.
        """
        import torch

        pairs = [
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            for _ in range(iterations)
        ]
        for start, end in pairs:  # an event is created in the driver when it is first recorded
            start.record()
            end.record()
        torch.cuda.synchronize()
        for start, end in pairs:
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in pairs]

    def sensor(self) -> Sensor | None:
        """Return the open sensor of the GPU."""
        return self._sensor

    def settings(self) -> dict[str, Setting]:
        """Return versions of CUDA and cuDNN, the GPU by torch, and the switches."""
        import torch

        chip = torch.cuda.get_device_properties(0)
        return {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu": chip.name,
            "sm_count": chip.multi_processor_count,
            **precision.switches(),
        }

    def threads_used(self, threads: int) -> float | None:
        """Return None: the GPU computes, and one thread of the host launches its work."""
        return None

    def free_memory(self) -> None:
        """Return unused memory of torch's allocator to the GPU, and start a new peak."""
        import torch

        gc.collect()  # a graph, or a network that refers to itself, would keep its memory
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def reset_peak_memory(self) -> None:
        """Do nothing: before the network, only the calibration kernels hold GPU memory.

        The peak must include the memory of loading, because a CUDA graph keeps its activations.
        """

    def memory(self) -> Memory:
        """Return peaks of torch's allocator, and the memory of this process by the driver.

        Weights count; the memory of the calibration kernels is subtracted.
        """
        import torch

        held = self._held_by_kernels
        process = self._process_bytes()
        return Memory(
            peak=int(torch.cuda.max_memory_allocated()) - held,
            reserved=int(torch.cuda.max_memory_reserved()) - held,
            process=None if process is None else process - held,
        )

    def _process_bytes(self) -> int | None:
        sensor = self._sensor
        return sensor.process_bytes(os.getpid()) if isinstance(sensor, nvml.Gpu) else None


def _open_gpu() -> Sensor:
    try:
        return nvml.open_gpu()
    except UnavailableError as error:  # torch can use a GPU that NVML cannot open
        return MissingSensor(error.message)


def with_gauges(host: Reading, gauges: Gauges, power_mode: str | None = None) -> Reading:
    """Return the host's reading with the clock and levels of the GPU."""
    missing = {name: why for name, why in host.missing.items() if name != "clock_hz"}
    shown = {name: why for name, why in gauges.missing.items() if hasattr(host, name)}
    return structs.replace(
        host,
        clock_hz=gauges.clock_hz,
        temperature_c=gauges.temperature_c,
        power_w=gauges.power_w,
        throttles=gauges.throttles,
        power_mode=power_mode,
        missing=missing | shown,
    )
