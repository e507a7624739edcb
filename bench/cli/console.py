"""The console for progress messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from bench.errors import BAD_INPUT
from bench.text import printable

PIPE_WIDTH = 200


def progress_console(*, to_stderr: bool) -> Console:
    """Return a console on stdout or stderr. In a pipe, it does not wrap lines."""
    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def say(console: Console, line: str) -> None:
    """Print one line without interpreting markup; a model name may look like markup."""
    console.print(Text(line), soft_wrap=True)


def code_of_unreadable(sentences: Iterable[str]) -> int:
    """Print the sentences on devices that could not be read; return the exit code, 0 for none."""
    said = list(sentences)
    for each in said:
        print(f"error: {printable(each)}", file=sys.stderr)
    if not said:
        return 0
    print("All other devices were read. Make these readable, or move them away.", file=sys.stderr)
    return BAD_INPUT
