"""The console that progress is written to."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 200


def progress_console(*, to_stderr: bool) -> Console:
    """A console for progress; a pipe gets whole lines, however long they are."""
    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def say(console: Console, line: str) -> None:
    """Print one line literally: names of models may look like markup."""
    console.print(Text(line), soft_wrap=True)
