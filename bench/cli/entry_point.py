"""The entry point: all commands, and the one place where an exception becomes an exit code."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import sys
from typing import Annotated, Any

import typer

from bench import __version__
from bench.cli import closed_pipe
from bench.cli.console import complain, tell
from bench.errors import (
    BAD_INPUT,
    CLOSED_PIPE,
    INTERRUPTED,
    MORE_PROCESSES,
    BenchError,
    UsageError,
    is_thread_refused,
)

# What typer raises for wrong arguments. Its own base class is in another package in each version.
WRONG_USE: type[Exception] = next(
    kind
    for kind in reversed(typer.BadParameter.__mro__)
    if issubclass(kind, Exception) and hasattr(kind, "show")
)
# The module in `bench.cli` and the function of each command, in the order of the help.
COMMANDS = {
    "run": ("run", "run"),
    "settle": ("settle", "settle"),
    "tune": ("tune", "tune"),
    "train": ("train", "train"),
    "eval": ("evaluate", "evaluate"),
    "profile": ("profile", "profile"),
    "export": ("export", "export"),
    "choose": ("choose", "choose"),
    "fleet": ("fleet", "fleet"),
    "report": ("report", "report"),
    "compare": ("compare", "compare"),
    "replay": ("replay", "replay"),
    "history": ("history", "history"),
    "explain": ("explain", "explain"),
    "selfcheck": ("selfcheck", "selfcheck"),
    "list": ("list", "list_"),
    "doctor": ("doctor", "doctor"),
}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def _print_version(wanted: bool) -> None:
    if wanted:
        tell(f"bench {__version__}")
        raise typer.Exit


def _flags(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Declare the flags that come before the name of a command."""


def app_of(called: str = "") -> typer.Typer:
    """Return the command line with the command that is called, or all, for the help and the shell.

    Importing all commands takes longer than most questions to a folder of results.
    """
    app = typer.Typer(
        name="bench",
        help="Measure vision backbones: which form of which network is fastest on this machine?",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )
    app.callback()(_flags)
    for name in [called] if called in COMMANDS else COMMANDS:
        module, function = COMMANDS[name]
        found = getattr(importlib.import_module(f"bench.cli.{module}"), function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def main() -> None:
    """Run the command line; exit with 0 or with an exit code of `bench.errors`."""
    closed_pipe.watch_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # its encoding may lack letters, such as ± and –
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _call()
    except closed_pipe.ClosedPipeError:
        closed_pipe.discard_output()
        sys.exit(CLOSED_PIPE)


def _call() -> None:
    """Run the command; turn each exception that a user can cause into its exit code."""
    try:
        _check_arguments(sys.argv[1:])
        try:
            app = app_of(sys.argv[1] if len(sys.argv) > 1 else "")
            exit_code = app(prog_name="bench", standalone_mode=False)
        finally:
            sys.stdout.flush()  # here, where a full disk and a closed pipe are handled
        if exit_code:
            sys.exit(exit_code)
    except WRONG_USE as error:
        _complain_as_typer(error)
        sys.exit(BAD_INPUT)
    except BenchError as error:
        complain(f"error: {error.message}")
        for line in error.remedy.splitlines():
            complain(line)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except RuntimeError as error:
        if not is_thread_refused(error):
            raise
        complain(f"error: {error}")
        complain(MORE_PROCESSES)
        sys.exit(BAD_INPUT)
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        with contextlib.suppress(OSError):  # stderr may go to the same full disk
            complain(f"error: cannot write to standard output: {error.strerror}")
            complain("Make room on the disk, then run the same command: it resumes.")
        closed_pipe.discard_output()
        sys.exit(BAD_INPUT)


def _complain_as_typer(error: Any) -> None:
    """Print what typer says of wrong arguments, which may be names of files."""
    said = io.StringIO()
    error.show(said)
    for line in said.getvalue().splitlines():
        complain(line)


def _check_arguments(words: list[str]) -> None:
    """Raise UsageError for an argument that is not UTF-8: a record stores the command as JSON."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"an argument is not valid UTF-8: {word}",
                "Rename that file or folder, or call bench inside it.",
            ) from None
