"""What a user can be told: what is wrong, and the remedy. `cli.main` makes exit codes of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CASE_FAILED = 1
BAD_INPUT = 2
NOT_AVAILABLE = 3
INTERRUPTED = 130


class BenchError(Exception):
    """A mistake or lack that the user can mend. Base of the two below."""

    exit_code = BAD_INPUT

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}".rstrip()


class UsageError(BenchError):
    """Bad input or use: exit code 2."""


class UnavailableError(BenchError):
    """A device or backend that is not available here: exit code 3."""

    exit_code = NOT_AVAILABLE


class InterruptedRunError(BenchError):
    """Ctrl-C: exit code 130."""

    exit_code = INTERRUPTED

    def __init__(self, path: object) -> None:
        super().__init__(
            "interrupted", f"Finished rounds are in {path}; the same command again goes on."
        )


def unknown(kind: str, name: str, choices: Iterable[str], remedy: str = "") -> UsageError:
    """An error for a name that is none of `choices`, with the nearest of them."""
    valid = list(choices)
    near = difflib.get_close_matches(name, valid, n=4, cutoff=0.5)
    if near:
        hint = "Did you mean " + " or ".join(near) + "?"
    elif len(valid) <= 12:
        hint = "Valid: " + ", ".join(valid) + "."
    else:
        hint = ""
    return UsageError(f"unknown {kind} {name!r}", f"{hint} {remedy}".strip())
