"""The extra `fleet`: the packages that `bench fleet` needs besides those of bench."""

from __future__ import annotations

from bench.devices.installation import pip_install
from bench.errors import UnavailableError

VERSION = "2026.8.0"  # of distributed, as in pyproject.toml: others do not understand each other
PORT = 8786  # of a scheduler


def install_first() -> UnavailableError:
    """Return the error of a command that needs the extra `fleet`."""
    return UnavailableError(
        "`bench fleet` needs the packages distributed and cryptography",
        f"Install them: {pip_install()} cryptography distributed=={VERSION}",
    )
