"""NVIDIA Jetson Orin: found by its device tree, timed as any CUDA chip."""

from __future__ import annotations

import platform
from pathlib import Path

from bench.devices.cpu import Cpu, usable_cpus
from bench.devices.cuda import Cuda
from bench.errors import UnavailableError
from bench.records import Chip

HOW_TO_RUN = """\
On the board, with JetPack and its PyTorch installed, in a checkout of this repository:
    python3 -m venv --system-site-packages .venv && .venv/bin/pip install .
    .venv/bin/python -m bench run --device orin --models repnext_u3_t
Here: --device cpu, or `python -m bench list devices`."""


class Orin(Cuda):
    """Jetson Orin modules (Nano, NX, AGX)."""

    name = "orin"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__()
        self._root = root

    def identify(self) -> Chip:
        """Read the device tree and the L4T release; raises UnavailableError elsewhere."""
        module = self._read("proc/device-tree/model").rstrip("\0")
        release = self._read("etc/nv_tegra_release").partition("\n")[0]
        if "Orin" not in module:
            board = module or "no Jetson board"
            found = f"{board} ({platform.system()} on {platform.machine()})"
            raise UnavailableError(f"no Jetson Orin here: found {found}", HOW_TO_RUN)
        return Chip(
            device=self.name,
            kind="edge",
            name=module,
            threads=usable_cpus(),
            facts={"l4t": release or None},
        )

    def free_bytes(self) -> int | None:
        """The GPU has no memory of its own."""
        return Cpu().free_bytes()

    def _read(self, path: str) -> str:
        try:
            return (self._root / path).read_text(errors="replace")
        except OSError:
            return ""
