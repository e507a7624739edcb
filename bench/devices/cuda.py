"""An NVIDIA GPU through torch.cuda. What it is, is asked of NVML, which starts no CUDA."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from msgspec import structs

from bench.devices import nvml
from bench.devices.cpu import Cpu, import_torch, usable_cpus
from bench.devices.kernels import GPU, Kernels, torch_kernels
from bench.devices.precision import set_switches, switches
from bench.devices.sensor import Blind, Memory, Sensor
from bench.errors import UnavailableError
from bench.records import Case, Chip, Gauges, Reading, Setting


class Cuda:
    """The GPU that torch calls cuda:0."""

    name = "cuda"
    torch_device = "cuda"
    has_queue = True
    kernel_size = GPU

    def __init__(self) -> None:
        self._held_by_kernels = 0
        self._sensor: Sensor = Blind("no session is open")

    def identify(self) -> Chip:
        """Ask NVML. Raises UnavailableError where there is no driver or no GPU.

        Processes that are started from here on count GPUs as NVML does, by their bus.
        """
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        with nvml.open_gpu() as gpu:
            return Chip(
                device=self.name,
                kind="gpu",
                name=gpu.name,
                threads=usable_cpus(),
                facts=gpu.facts(),
            )

    def state(self) -> dict[str, str | int | float | None]:
        """What NVML says while nothing of ours runs: power and clock are those of idleness."""
        with nvml.open_gpu() as gpu:
            return gpu.state()

    def preload(self) -> None:
        """Import torch and timm, and start no CUDA."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[None]:
        """Inference mode, host threads, the switches of the precision, and the sensor open."""
        import torch

        torch.set_num_threads(case.threads)
        set_switches(case.precision)
        self._sensor = self._open_sensor()
        with contextlib.closing(self._sensor), torch.inference_mode():
            yield

    def now(self) -> float:
        """Host clock after all queued work is done."""
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def kernels(self) -> Kernels:
        """On the GPU."""
        import torch

        kernels = torch_kernels(self.kernel_size, self.torch_device)
        self._held_by_kernels = torch.cuda.memory_allocated()
        return kernels

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """By CUDA events around each call, queued one after another and waited for at the end.

        So it is the GPU's own time as long as the host keeps ahead of it; where it does not, as
        at batch 1 in eager mode it may, the GPU's waiting for launches is in it.
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
            **switches(),
        }

    def free_bytes(self) -> int | None:
        """Of the GPU's memory, by NVML, or of the host's where that is less."""
        with nvml.open_gpu() as gpu:
            known = (gpu.free_bytes(), Cpu().free_bytes())
        return min((size for size in known if size is not None), default=None)

    def foreign_processes(self) -> int | None:
        """By NVML's lists of processes that compute or draw."""
        with nvml.open_gpu() as gpu:
            return gpu.foreign_processes()

    def sense(self) -> Reading:
        """The host's CPUs, and the GPU's clock, temperature, power and throttles."""
        return with_gauges(Cpu().sense(), self._sensor.gauges())

    def reset_peak_memory(self) -> None:
        """Nothing to forget: before its network a process holds the kernels alone.

        What loading takes is meant to be in the peak: a graph keeps its activations from then on.
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

    def _open_sensor(self) -> Sensor:
        try:
            return nvml.open_gpu()
        except UnavailableError as error:  # torch found a GPU that NVML does not
            return Blind(error.message)

    def _process_bytes(self) -> int | None:
        sensor = self._sensor
        return sensor.process_bytes(os.getpid()) if isinstance(sensor, nvml.Gpu) else None


def with_gauges(host: Reading, gauges: Gauges, power_mode: str | None = None) -> Reading:
    """What the host's reading says, with clock and levels of the GPU in place of the host's."""
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
