"""A Jetson Orin: torch.cuda on memory shared with the host, its sensors read from the board."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Container, Iterator
from pathlib import Path

from bench.devices import precision, proof
from bench.devices.cpu import import_torch
from bench.devices.cuda import CudaSession, computing, with_gauges
from bench.devices.driver import Kind, Speed
from bench.devices.host import Host, status_bytes, usable_cpus
from bench.devices.kernels import BOARD
from bench.devices.sensors.jtop import JtopSensor, combined
from bench.devices.sensors.sensor import Memory, Sensor
from bench.devices.sensors.tegra import Board
from bench.errors import UnavailableError
from bench.records import Case, Chip, Gauges, Reading

HOW_TO_RUN = """\
On the board, with JetPack and its PyTorch installed, in a checkout of this repository:
    python3 -m venv --system-site-packages .venv && .venv/bin/pip install .
    .venv/bin/bench run --device orin --models repnext_u3_t
Here: --device cpu, or `bench list devices`."""

SPEED = Speed(macs_per_s=0.8e12, macs_per_s_large=0.8e12, call_s=0.004)
SAMPLED = {"utilisation", "clock_hz", "temperature_c", "power_w"}  # in a steady loop


class Orin:
    """Jetson Orin modules (Nano, NX, AGX)."""

    name = "orin"
    kind: Kind = "edge"
    torch_device = "cuda"
    runs_torch = True
    has_queue = True
    is_shared = False
    clock_follows_load = True
    speed = SPEED
    own_models: Container[str] = frozenset()

    def __init__(self, root: Path = Path("/")) -> None:
        self._board = Board(root)

    def identify(self) -> Chip:
        """Read the device tree and the L4T release; raises UnavailableError elsewhere."""
        module = self._board.module()
        if "Orin" not in module:
            board = module or "no Jetson board"
            found = f"{board} ({platform.system()} on {platform.machine()})"
            raise UnavailableError(f"no Jetson Orin here: found {found}", HOW_TO_RUN)
        return Chip(
            device=self.name,
            kind=self.kind,
            name=module,
            threads=usable_cpus(),
            facts=self._board.facts(),
        )

    def prove(self, chip: Chip) -> None:
        """In a process of its own, a convolution on the GPU must come out right."""
        proof.prove(chip.name)

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """TF32 needs compute capability 8.0; an Orin has 8.7."""
        capability = str(chip.facts.get("compute_capability") or "")
        return precision.missing_on_nvidia(name, capability)

    def state(self) -> dict[str, str | int | float | None]:
        """Clocks, temperature and power of the board while nothing of ours runs."""
        return self._board.state()

    def free_bytes(self) -> int | None:
        """Free memory of the host: the GPU has none of its own."""
        return Host().free_bytes()

    def foreign_processes(self) -> int | None:
        """None: the driver of the board does not say; the CPU time of others is sensed."""
        return None

    def preload(self) -> None:
        """Import torch and timm, and start no CUDA."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[OrinSession]:
        """As on any NVIDIA GPU, with the board's sensors."""
        with computing(case), contextlib.closing(_BoardThenJtop(self._board)) as sensor:
            yield OrinSession(sensor, self._board)


class OrinSession(CudaSession):
    """A CUDA session whose clock, levels and power mode are those of the board."""

    def __init__(self, sensor: Sensor, board: Board) -> None:
        super().__init__(sensor, BOARD)
        self._board = board

    def sense(self) -> Reading:
        """The host's CPUs, and the board's own files; jtop is for the steady loop alone."""
        return with_gauges(self._host.sense(), self._board.gauges(), self._board.power_mode())

    def memory(self) -> Memory:
        """Peaks of torch's allocator; the process also holds its resident set in that memory."""
        memory = super().memory()
        resident = status_bytes("VmRSS")
        return memory._replace(process=resident + (memory.reserved or 0))


class _BoardThenJtop:
    """The board's own files first; jtop, in a process of its own, for what they lack."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._jtop: JtopSensor | None = None

    def gauges(self) -> Gauges:
        """Levels from sysfs; jtop starts only where a level of the steady loop is missing there."""
        own = self._board.gauges()
        if not SAMPLED & own.missing.keys():
            return own
        if self._jtop is None:
            self._jtop = JtopSensor()
        return combined(own, self._jtop.gauges())

    def energy_j(self) -> float | None:
        """None: the board has no energy counter, only power rails that can be polled."""
        return None

    def close(self) -> None:
        """End jtop's process."""
        if self._jtop is not None:
            self._jtop.close()
