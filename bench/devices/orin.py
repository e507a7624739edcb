"""A Jetson Orin: torch.cuda with memory that CPU and GPU share, and the sensors of the board."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Container, Iterator
from pathlib import Path

from msgspec import structs

from bench.devices import precision, proof
from bench.devices.cpu import import_torch
from bench.devices.cuda import CudaSession, computing, with_gauges
from bench.devices.driver import AlwaysReady, Kind, Speed
from bench.devices.host import Host, status_bytes, usable_cpus
from bench.devices.kernels import BOARD
from bench.devices.sensors.jtop import JtopSensor, combined
from bench.devices.sensors.sensor import Memory, Sensor
from bench.devices.sensors.tegra import Board
from bench.errors import UnavailableError
from bench.records import Case, Chip, Gauges, Reading, Setting

HOW_TO_RUN = """\
On the board, with JetPack and its PyTorch installed, in a checkout of this repository:
    python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox -s bench_orin
    .nox/bench_orin/bin/bench run --device orin --models repnext_u3_t
On this machine: --device cpu; `bench list devices` lists all devices."""

SPEED = Speed(macs_per_s=0.8e12, macs_per_s_large=0.8e12, call_s=0.004)
# The levels that are sampled in the steady loop.
SAMPLED = {"utilisation", "clock_hz", "temperature_c", "power_w"}


class Orin(AlwaysReady):
    """Jetson Orin modules (Nano, NX, AGX)."""

    name = "orin"
    kind: Kind = "edge"
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
        """Read the device tree and the L4T release. Raises UnavailableError on another machine."""
        board = Board(self._root)
        module = board.module()
        if not board.is_orin():
            found_board = module or "no Jetson board"
            found = f"{found_board} ({platform.system()} on {platform.machine()})"
            raise UnavailableError(f"no Jetson Orin here: found {found}", HOW_TO_RUN)
        return Chip(
            device=self.name,
            kind=self.kind,
            name=module or "NVIDIA Jetson Orin",
            threads=usable_cpus(),
            facts=board.facts(),
        )

    def prove(self, chip: Chip) -> None:
        """Raise UnavailableError unless operators on the GPU are correct, in a new process."""
        proof.prove(chip.name)

    def missing_precision(self, name: str, chip: Chip) -> str | None:
        """Return None: an Orin has compute capability 8.7, and TF32 needs 8.0."""
        capability = str(chip.facts.get("compute_capability") or "")
        return precision.missing_on_nvidia(name, capability)

    def state(self) -> dict[str, str | int | float | None]:
        """Return clocks, temperature and power of the idle board."""
        return Board(self._root).state()

    def free_bytes(self) -> int | None:
        """Return the free bytes of the host's memory, which the GPU shares."""
        return Host().free_bytes()

    def foreign_processes(self) -> int | None:
        """Return None: the board's GPU driver does not list processes.

        `sense` reads the CPU time of other processes instead.
        """
        return None

    def preload(self) -> None:
        """Import torch and timm; does not start CUDA."""
        import_torch()

    @contextlib.contextmanager
    def session(self, case: Case) -> Iterator[OrinSession]:
        """Open a session as on any NVIDIA GPU, with the sensors of the board."""
        board = Board(self._root)
        with computing(case), contextlib.closing(_BoardThenJtop(board)) as sensor:
            yield OrinSession(sensor, board)


class OrinSession(CudaSession):
    """A CUDA session that reads clock, levels and power mode from the board."""

    def __init__(self, sensor: Sensor, board: Board) -> None:
        super().__init__(sensor, BOARD)
        self._board = board
        self._met: dict[str, list[str]] = {"power_mode": [], "clock_limits": []}

    def sense(self) -> Reading:
        """Read the host's CPUs and the board's sysfs files. Only the steady loop uses jtop."""
        board = self._board
        reading = structs.replace(
            with_gauges(self._host.sense(), board.gauges(), board.power_mode()),
            over_currents=board.over_currents(),
            clock_limits=board.clock_limits(),
        )
        for name, values in self._met.items():
            if (value := getattr(reading, name)) not in (None, *values):
                values.append(value)
        return reading

    def settings(self) -> dict[str, Setting]:
        """Return the settings of a GPU, and all power modes and clock limits that were read.

        Rounds with different settings are never pooled.
        """
        met = {name: ", then ".join(values) or None for name, values in self._met.items()}
        return {**super().settings(), **met}

    def memory(self) -> Memory:
        """Return peaks of torch's allocator, and the memory of the process.

        process = RSS + reserved, because CPU and GPU share the memory.
        """
        memory = super().memory()
        resident = status_bytes("VmRSS")
        return memory._replace(process=resident + (memory.reserved or 0))


class _BoardThenJtop:
    """Reads sysfs files; asks jtop, in a separate process, for levels that the files lack."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._jtop: JtopSensor | None = None

    def gauges(self) -> Gauges:
        """Return levels from sysfs. Starts jtop only if sysfs lacks a level of SAMPLED."""
        own = self._board.gauges()
        if not SAMPLED & own.missing.keys():
            return own
        if self._jtop is None:
            self._jtop = JtopSensor()
        return combined(own, self._jtop.gauges())

    def energy_j(self) -> float | None:
        """Return None: the board measures the power of its rails and has no energy counter."""
        return None

    def close(self) -> None:
        """End jtop's process."""
        if self._jtop is not None:
            self._jtop.close()
