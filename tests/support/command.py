"""Call the command `bench` in this process, or start it as a process."""

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.cli import entry_point as cli
from bench.models import zoo


class Done(NamedTuple):
    """Exit code and output of a command, with the names of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str, cwd: Path, encoding: str = "utf-8") -> Done:
    """Call `main` in this process, with `cwd` as the working folder. Passes exceptions on.

    `encoding` is that of the terminal. As in any Python, standard error escapes what it lacks.
    """
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    err = io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["bench", *arguments])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = _exit_code_of(cli.main)
    for stream in (out, err):
        stream.flush()
    return Done(code, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err)))


def start(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `bench` as a process in `cwd`, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@functools.cache
def ask_timm(names: tuple[str, ...]) -> tuple[list[str], dict[str, list[str]]]:
    """Return what a process that imports timm would answer (`zoo.ASK_TIMM`): it is done here."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["-c", *names])
        exec(zoo.ASK_TIMM, {})
    known, found = json.loads(printed.getvalue().rstrip().rpartition("\n")[2])
    return known, found


def _exit_code_of(main) -> int:
    """Call `main`; return its exit code and restore the signal handlers."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or os.EX_OK)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return os.EX_OK
