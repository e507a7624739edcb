"""How to install torch and the packages that need it, on this machine.

A Jetson needs the torch of its vendor. pip would replace it with a torch of the public index, which
has no kernels for the board's GPU, as soon as another package requires a newer one.
"""

from __future__ import annotations

import shlex
import sys
import sysconfig
from pathlib import Path

from bench.devices.sensors.tegra import Board

# Indexes of wheels for Jetson boards, by the major number of JetPack. Source: jetson-ai-lab.io.
INDEXES = {
    "6": "https://pypi.jetson-ai-lab.io/jp6/cu126",
    "7": "https://pypi.jetson-ai-lab.io/sbsa/cu130",
}
FROM_VENDOR = ("torch", "torchvision", "triton")
# Dependencies of timm other than those of the vendor. None of them needs torch.
NEEDED_BY_TIMM = ("huggingface_hub", "pyyaml", "safetensors")
# In a Python of the system, pip refuses to install without this option, on JetPack 7 too, where the
# vendor's torch is for that Python. Source: PEP 668.
INTO_THE_SYSTEM = "--break-system-packages"


def is_of_the_system() -> bool:
    """Whether this Python's packages belong to the system, and it is no environment (PEP 668)."""
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return sys.prefix == sys.base_prefix and marker.exists()


def pip_install() -> str:
    """Return `pip install`, with the option that this Python needs, if any."""
    return f"pip install {INTO_THE_SYSTEM}" if is_of_the_system() else "pip install"


def how_to_install(*packages: str, again: bool = False, root: Path = Path("/")) -> str:
    """Return the command that installs `packages`, and on a Jetson keeps the vendor's torch.

    With `again`, the command also replaces what is installed.
    """
    install = f"{pip_install()} --force-reinstall" if again else pip_install()
    board = Board(root)
    if not board.is_jetson():
        return f"{install} {shlex.join(packages)}"
    vendors = [package for package in packages if package in FROM_VENDOR]
    others = [package for package in packages if package not in FROM_VENDOR]
    jetpack = board.jetpack()
    if vendors and jetpack is None:
        return "Install the torch that the board's vendor has for its JetPack: see docs/orin.md"
    index = INDEXES.get((jetpack or "").partition(".")[0])
    if vendors and index is None:
        return "Install JetPack 6 or 7, then the torch of its vendor: see docs/orin.md"
    commands = {
        f"{install} --no-deps --index-url {index}": vendors,
        pip_install(): NEEDED_BY_TIMM if "timm" in others else (),
        f"{install} --no-deps": others,
    }
    return " && ".join(f"{how} {shlex.join(what)}" for how, what in commands.items() if what)
