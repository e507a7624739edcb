"""How to install torch and the packages that need it, on this machine.

A Jetson needs the torch of its vendor. pip would replace it with a torch of the public index, which
has no kernels for the board's GPU, as soon as another package requires a newer one.
"""

from __future__ import annotations

from pathlib import Path

from bench.devices.sensors.tegra import Board

# Indexes of wheels for Jetson boards, by the major number of JetPack. Source: jetson-ai-lab.io.
INDEXES = {
    "6": "https://pypi.jetson-ai-lab.io/jp6/cu126",
    "7": "https://pypi.jetson-ai-lab.io/sbsa/cu130",
}
FROM_VENDOR = ("torch", "torchvision")


def how_to_install(*packages: str, again: bool = False, root: Path = Path("/")) -> str:
    """Return the command that installs `packages`, and on a Jetson keeps the vendor's torch.

    With `again`, the command also replaces what is installed.
    """
    install = "pip install --force-reinstall" if again else "pip install"
    board = Board(root)
    if board.l4t() is None:
        return f"{install} {' '.join(packages)}"
    index = INDEXES.get((board.jetpack() or "").partition(".")[0])
    if index is None:
        return "Install JetPack 6 or 7, then the torch of its vendor: see docs/orin.md"
    commands = {
        f"{install} --no-deps --index-url {index}": [p for p in packages if p in FROM_VENDOR],
        f"{install} --no-deps": [p for p in packages if p not in FROM_VENDOR],
    }
    return " && ".join(f"{how} {' '.join(what)}" for how, what in commands.items() if what)
