"""The console for progress messages."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

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
