"""NVIDIA Jetson Orin: found by its device tree, timed as any CUDA chip, sensed by the board."""

from __future__ import annotations

import platform
from pathlib import Path

from bench.devices.cpu import Cpu, status_bytes, usable_cpus
from bench.devices.cuda import Cuda, with_gauges
from bench.devices.jtop_sampler import JtopSensor, combined
from bench.devices.kernels import BOARD
from bench.devices.sensor import Memory, Sensor
from bench.devices.tegra import Board
from bench.errors import UnavailableError
from bench.records import Chip, Gauges, Reading

HOW_TO_RUN = """\
On the board, with JetPack and its PyTorch installed, in a checkout of this repository:
    python3 -m venv --system-site-packages .venv && .venv/bin/pip install .
    .venv/bin/python -m bench run --device orin --models repnext_u3_t
Here: --device cpu, or `python -m bench list devices`."""

KEPT = {"utilisation", "clock_hz", "temperature_c", "power_w"}  # of a steady loop


class Orin(Cuda):
    """Jetson Orin modules (Nano, NX, AGX)."""

    name = "orin"
    kernel_size = BOARD

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__()
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
            kind="edge",
            name=module,
            threads=usable_cpus(),
            facts=self._board.facts(),
        )

    def state(self) -> dict[str, str | int | float | None]:
        """Clocks, temperature and power of the board while nothing of ours runs."""
        return self._board.state()

    def free_bytes(self) -> int | None:
        """The GPU has no memory of its own."""
        return Cpu().free_bytes()

    def foreign_processes(self) -> int | None:
        """The driver of the board does not tell; their CPU time is sensed."""
        return None

    def sense(self) -> Reading:
        """The host's CPUs, and the board; whatever jtop alone knows is for the steady loop."""
        return with_gauges(Cpu().sense(), self._board.gauges(), self._board.power_mode())

    def memory(self) -> Memory:
        """Of torch's allocator, and with it what the process holds of the same memory besides."""
        memory = super().memory()
        resident = status_bytes("VmRSS")
        return memory._replace(process=resident + (memory.reserved or 0))

    def _open_sensor(self) -> Sensor:
        return _BoardThenJtop(self._board)


class _BoardThenJtop:
    """The board's own files first; jtop, in a process of its own, for what they do not have."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._jtop: JtopSensor | None = None

    def gauges(self) -> Gauges:
        """Levels by sysfs; jtop is started only where one that is kept is missing there."""
        own = self._board.gauges()
        if not KEPT & own.missing.keys():
            return own
        if self._jtop is None:
            self._jtop = JtopSensor()
        return combined(own, self._jtop.gauges())

    def energy_j(self) -> float | None:
        """The board has no counter of energy, only rails that can be polled."""
        return None

    def close(self) -> None:
        """End jtop's process."""
        if self._jtop is not None:
            self._jtop.close()
