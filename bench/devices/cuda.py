"""An NVIDIA GPU through torch.cuda. What it is, is asked of NVML, which starts no CUDA."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from msgspec import structs

from bench.devices.cpu import GIB, Cpu, import_torch, usable_cpus
from bench.devices.kernels import Kernels, torch_kernels
from bench.errors import UnavailableError
from bench.records import Case, Chip, Reading


class Cuda:
    """The first GPU that NVML sees."""

    name = "cuda"
    torch_device = "cuda"

    def __init__(self) -> None:
        self._held_by_kernels = 0

    def identify(self) -> Chip:
        """Ask NVML. Raises UnavailableError where there is no driver or no GPU."""
        with _nvml() as nvml:
            gpu = nvml.nvmlDeviceGetHandleByIndex(0)
            return Chip(
                device=self.name,
                kind="gpu",
                name=_text(nvml.nvmlDeviceGetName(gpu)),
                threads=usable_cpus(),
                facts={
                    "driver": _text(nvml.nvmlSystemGetDriverVersion()),
                    "memory_gib": round(nvml.nvmlDeviceGetMemoryInfo(gpu).total / GIB),
                },
            )

    def state(self) -> dict[str, str | int | float | None]:
        """Nothing is sensed yet."""
        return {}

    def preload(self) -> None:
        """Import torch and timm, and start no CUDA."""
        import_torch()

    def session(self, case: Case) -> contextlib.AbstractContextManager[object]:
        """Inference mode, host threads, and TF32 off in matmul and cuDNN: fp32 is IEEE fp32."""
        import torch

        torch.set_num_threads(case.threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        return torch.inference_mode()

    def now(self) -> float:
        """Host clock after all queued work is done."""
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def kernels(self) -> Kernels:
        """On the GPU."""
        import torch

        kernels = torch_kernels("cuda")
        self._held_by_kernels = torch.cuda.memory_allocated()
        return kernels

    def free_bytes(self) -> int | None:
        """Of the GPU's memory, by NVML."""
        with _nvml() as nvml:
            gpu = nvml.nvmlDeviceGetHandleByIndex(0)
            return int(nvml.nvmlDeviceGetMemoryInfo(gpu).free)

    def sense(self) -> Reading:
        """The host's CPUs; of the GPU nothing is sensed yet."""
        host = Cpu().sense()
        missing = host.missing | {"clock_hz": "the GPU's clock is not sensed yet"}
        return structs.replace(host, clock_hz=None, power_mode=None, missing=missing)

    def reset_peak_memory(self) -> None:
        """Of torch's allocator."""
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int | None:
        """Peak of torch's allocator, weights included."""
        import torch

        return int(torch.cuda.max_memory_allocated()) - self._held_by_kernels


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise UnavailableError(
            f"no NVIDIA GPU here: NVML says {error}",
            "Run the same command on a machine whose `nvidia-smi` lists a GPU; "
            "on this one: --device cpu",
        ) from error
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
