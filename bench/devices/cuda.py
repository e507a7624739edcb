"""An NVIDIA GPU through torch.cuda. NVML says what the chip is, since NVML starts no CUDA."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Container, Iterator

from msgspec import structs

from bench.devices import precision, proof
from bench.devices.cpu import import_torch
from bench.devices.driver import Kind, Script, Speed
from bench.devices.host import Host, usable_cpus
from bench.devices.kernels import GPU, GPU_PEAK, Kernels, KernelSize, torch_kernels
from bench.devices.sensors import nvml
from bench.devices.sensors.sensor import Blind, Memory, Sensor
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
    speed = SPEED
    own_models: Container[str] = frozenset()

    def identify(self) -> Chip:
        """Ask NVML. Raises UnavailableError where there is no driver or no GPU.

        Processes that start after this call number GPUs as NVML does, by their bus.
        """
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
        """In a process of its own, a convolution on the GPU must come out right."""
        proof.prove(chip.name)

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """TF32 needs compute capability 8.0."""
        capability = str(chip.facts.get("compute_capability") or "")
        return precision.missing_on_nvidia(name, capability)

    def state(self) -> dict[str, str | int | float | None]:
        """What NVML says while nothing of ours runs: power and clock of the idle chip."""
        with nvml.open_gpu() as gpu:
            return gpu.state()

    def free_bytes(self) -> int | None:
        """Free memory of the GPU by NVML, or of the host where that is less."""
        with nvml.open_gpu() as gpu:
            known = (gpu.free_bytes(), Host().free_bytes())
        return min((size for size in known if size is not None), default=None)

    def foreign_processes(self) -> int | None:
        """By NVML's lists of processes that compute or draw."""
        with nvml.open_gpu() as gpu:
            return gpu.foreign_processes()

    def preload(self) -> None:
        """Import torch and timm, and start no CUDA."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[CudaSession]:
        """Inference mode, host threads, the switches of the precision, and the sensor open."""
        with computing(case), contextlib.closing(_open_gpu()) as sensor:
            yield CudaSession(sensor, GPU)


@contextlib.contextmanager
def computing(case: Case) -> Iterator[None]:
    """Host threads and precision of the case, in inference mode."""
    import torch

    torch.set_num_threads(case.threads)
    precision.set_switches(case.precision)
    with torch.inference_mode():
        yield


class CudaSession:
    """Times on the host's clock after all queued work is done, and by CUDA events."""

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
        """Host clock after all queued work is done."""
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def kernels(self) -> Kernels:
        """On the GPU."""
        import torch

        kernels = torch_kernels(self._kernel_size, self.torch_device)
        self._held_by_kernels = torch.cuda.memory_allocated()
        return kernels

    def sense(self) -> Reading:
        """The host's CPUs, and the GPU's clock, temperature, power and throttle reasons."""
        return with_gauges(self._host.sense(), self._sensor.gauges())

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """By CUDA events around each call; calls are queued one after another, waited for once.

        This is the GPU's own time as long as the host queues faster than the GPU computes. Where
        it does not, as often at batch 1 in eager mode, it includes the GPU's waiting for launches.
        """
        import torch

        pairs = [
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            for _ in range(iterations)
        ]
        for start, end in pairs:
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in pairs]

    def sensor(self) -> Sensor | None:
        """What the session opened."""
        return self._sensor

    def settings(self) -> dict[str, Setting]:
        """Versions of CUDA and cuDNN, the chip as torch sees it, and the switches."""
        import torch

        chip = torch.cuda.get_device_properties(0)
        return {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu": chip.name,
            "sm_count": chip.multi_processor_count,
            **precision.switches(),
        }

    def reset_peak_memory(self) -> None:
        """Do nothing: before its network a process holds the kernels alone.

        The peak includes what loading takes: a CUDA graph keeps its activations from then on.
        """

    def memory(self) -> Memory:
        """Peaks of torch's allocator, weights included, and what the driver says we hold."""
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
    except UnavailableError as error:  # torch found a GPU that NVML does not
        return Blind(error.message)


def with_gauges(host: Reading, gauges: Gauges, power_mode: str | None = None) -> Reading:
    """The host's reading, with clock and levels of the GPU in place of the host's."""
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
