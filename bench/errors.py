"""Errors for the user: a message, a remedy, and the exit code that `cli.main` returns."""

from __future__ import annotations

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator, Mapping

CASE_FAILED = 1
BAD_INPUT = 2
NOT_AVAILABLE = 3
NOT_JUDGED = 4  # what was asked could not be judged
INTERRUPTED = 130
CLOSED_PIPE = 141  # as of a process that SIGPIPE ends
MAX_SIZE = 100_000  # of whole numbers: batch, resolution, threads, days
NO_ROOM = {errno.EAGAIN, errno.ENOMEM}  # the limit on processes, or no memory
NO_THREAD = "can't start new thread"  # only its text tells this RuntimeError of Python from others
MORE_PROCESSES = (
    "End other programs, or raise the limit on processes, which counts threads, too: `ulimit -u`, "
    "or the limit of the container (`pids.max`)."
)


class BenchError(Exception):
    """An error that the user can fix. Base class of all errors in this module."""

    exit_code = BAD_INPUT

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}".rstrip()


class UsageError(BenchError):
    """The input or the use of a command is wrong: exit code 2."""


class UnavailableError(BenchError):
    """A device, backend or precision is not available on this machine: exit code 3."""

    exit_code = NOT_AVAILABLE


class InterruptedTrainingError(BenchError):
    """The user pressed Ctrl-C during a training: exit code 130."""

    exit_code = INTERRUPTED

    def __init__(self, folder: object) -> None:
        super().__init__(
            "interrupted",
            f"What was trained is in {folder}. Run the same command again to continue.",
        )


class InterruptedRunError(BenchError):
    """The user pressed Ctrl-C during a run: exit code 130. `saved`: a round was finished."""

    exit_code = INTERRUPTED

    def __init__(self, path: object, *, saved: bool) -> None:
        kept = f"Finished rounds are saved in {path}."
        none = "No round was finished yet, so this run has saved no number."
        super().__init__(
            "interrupted", f"{kept if saved else none} Run the same command again to resume."
        )


@contextlib.contextmanager
def starting(what: str) -> Iterator[None]:
    """Start a process in the `with` block; `what` says which one: "a measuring process".

    Raises UsageError where the system allows no more processes.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UsageError(f"cannot start {what}: {error.strerror}", MORE_PROCESSES) from error


def is_thread_refused(error: BaseException) -> bool:
    """Whether Python raised this error since the system allows no more threads."""
    return isinstance(error, RuntimeError) and str(error) == NO_THREAD


def unknown(
    kind: str,
    name: str,
    choices: Iterable[str],
    remedy: str = "",
    *,
    known_as: Mapping[str, str] | None = None,
) -> UsageError:
    """Return the error for a name that is not in `choices`; its remedy suggests the closest names.

    `known_as` maps names that people expect to a sentence that says what there is instead. Where no
    name is close and there are at most 12 choices, the remedy lists all of them.
    """
    valid = list(choices)
    near = difflib.get_close_matches(name, valid, n=4, cutoff=0.5)
    if instead := (known_as or {}).get(name.lower()):
        hint = instead
    elif near:
        hint = "Did you mean " + " or ".join(near) + "?"
    elif len(valid) <= 12:
        hint = "Valid: " + ", ".join(valid) + "."
    else:
        hint = ""
    return UsageError(f"unknown {kind} {name!r}", f"{hint} {remedy}".strip())


def check_at_most(what: str, number: int, most: int) -> None:
    """Raise UsageError unless 0 <= number <= most."""
    if not 0 <= number <= most:
        raise UsageError(f"invalid {what} {number}", f"Give a whole number from 0 to {most}.")


def check_positive(what: str, number: int) -> None:
    """Raise UsageError unless 1 <= number <= MAX_SIZE."""
    if not 1 <= number <= MAX_SIZE:
        raise UsageError(f"invalid {what} {number}", f"Give a whole number from 1 to {MAX_SIZE}.")
