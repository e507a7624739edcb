"""The instruments of the measuring lines: the session under test, and independent means.

The independent means are written here from torch alone: bare loops, CUDA events, the allocator's
own count. They share no code with the session, so an error of the session cannot hide in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench.backends import BACKENDS
from bench.devices import Session, precision

if TYPE_CHECKING:
    from torch import Tensor

NETWORKS = ("resnet50", "repnext_u3_t")
RESOLUTION = 224
PRODUCT_SIZE = 1024
BURN_SIZE = 2048


class Loaded(NamedTuple):
    """A network that a backend has loaded: `call` reads `images` and returns the output."""

    call: Callable[[], Tensor]
    images: Tensor


class Instruments(Protocol):
    """What the measuring lines use; tests replace it by a simulated GPU."""

    session: Session

    def load(self, network: str, backend: str) -> Loaded:
        """Load a network with a backend, on the device and with seeded images."""

    def missing(self, backend: str) -> str | None:
        """Return what the device lacks for a backend; None if nothing."""

    def host_s(self, call: Callable[[], object], calls: int) -> float:
        """Return host seconds per call, each waited for, by a bare loop."""

    def device_s(self, call: Callable[[], object], calls: int) -> float | None:
        """Return device seconds per call by a bare loop; None without a clock of the device."""

    def product_errors(self, precision_name: str) -> dict[str, float]:
        """Return the relative error of a matrix product and a convolution against float64."""

    def seconds(self) -> float:
        """Return a clock of the host that the session does not read."""

    def burn(self, seconds: float) -> None:
        """Keep the device busy for about so many seconds, then wait for it."""

    def rest(self, seconds: float) -> None:
        """Leave the device idle for so many seconds."""

    def allocate(self, size: int) -> object:
        """Allocate and fill `size` bytes on the device; they are free when the result is."""

    def counted_bytes(self) -> int | None:
        """Return torch's own peak count of the device's memory; None if it does not count it."""


class TorchInstruments:
    """The instruments on real hardware."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._burned: Tensor | None = None

    def load(self, network: str, backend: str) -> Loaded:
        """Build the network of the zoo in the first of its forms, with images of batch 1."""
        import torch

        from bench.models.build import build
        from bench.models.zoo import ZOO

        device = self.session.torch_device
        net = build(network, ZOO[network].forms[0], resolution=RESOLUTION).eval().to(device)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(1, 3, RESOLUTION, RESOLUTION, generator=generator).to(device)
        call = BACKENDS[backend].load(net, [images], "fp32")
        return Loaded(call, images)  # type: ignore[arg-type]

    def missing(self, backend: str) -> str | None:
        """Ask the backend."""
        return BACKENDS[backend].missing(self.session.torch_device)

    def host_s(self, call: Callable[[], object], calls: int) -> float:
        """Time by `torch.utils.benchmark`, with a wait after each call."""
        import torch
        from torch.utils.benchmark import Timer

        wait = torch.cuda.synchronize if self.session.has_queue else _nothing
        known = {"call": call, "wait": wait}
        timer = Timer("call(); wait()", globals=known, num_threads=torch.get_num_threads())
        return float(timer.timeit(calls).mean)

    def device_s(self, call: Callable[[], object], calls: int) -> float | None:
        """Record one CUDA event before all calls and one after them."""
        import torch

        if not self.session.has_queue:
            return None
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / calls

    def product_errors(self, precision_name: str) -> dict[str, float]:
        """Set the switches of the precision, and compare two operators with float64 on the CPU."""
        import torch
        from torch.nn import functional

        generator = torch.Generator().manual_seed(0)
        left, right = torch.randn(2, PRODUCT_SIZE, PRODUCT_SIZE, generator=generator)
        images = torch.randn(2, 64, 32, 32, generator=generator)
        kernel = torch.randn(64, 64, 3, 3, generator=generator)
        device = self.session.torch_device
        precision.set_switches(precision_name)
        try:
            pairs = {
                "product": (left.to(device) @ right.to(device), left.double() @ right.double()),
                "convolution": (
                    functional.conv2d(images.to(device), kernel.to(device)),
                    functional.conv2d(images.double(), kernel.double()),
                ),
            }
            return {name: _relative_error(ours, exact) for name, (ours, exact) in pairs.items()}
        finally:
            precision.set_switches("fp32")

    def seconds(self) -> float:
        """Return `time.perf_counter`."""
        return time.perf_counter()

    def burn(self, seconds: float) -> None:
        """Multiply matrices until the time is over, and wait after each product."""
        import torch

        if self._burned is None:
            self._burned = torch.ones(BURN_SIZE, BURN_SIZE, device=self.session.torch_device)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            torch.mm(self._burned, self._burned)
            if self.session.has_queue:
                torch.cuda.synchronize()

    def rest(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def allocate(self, size: int) -> object:
        """Return a tensor of ones."""
        import torch

        return torch.ones(size, dtype=torch.uint8, device=self.session.torch_device)

    def counted_bytes(self) -> int | None:
        """Return the peak of torch's caching allocator."""
        import torch

        if not self.session.has_queue:
            return None
        return int(torch.cuda.memory_stats()["allocated_bytes.all.peak"])


def _relative_error(ours: Tensor, exact: Tensor) -> float:
    """Return |ours - exact| / |exact| with Euclidean norms."""
    return float((ours.cpu().double() - exact).norm() / exact.norm())


def _nothing() -> None:
    """Wait for nothing: a device without a queue has finished when a call returns."""
