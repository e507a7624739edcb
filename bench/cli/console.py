"""What a command prints: progress, lines, tables, JSON and pages. Only this module prints.

Text of records, names of files and messages may come from anyone: control characters are escaped,
and markup of rich is not interpreted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.errors import BAD_INPUT
from bench.text import printable, to_json

PIPE_WIDTH = 200


def progress_console(*, to_stderr: bool) -> Console:
    """Return a console on stdout or stderr. In a pipe, it does not wrap lines."""
    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def say(console: Console, line: str, *, mark: tuple[str, str] = ("", ""), style: str = "") -> None:
    """Print one line in a style of rich; a mark in front, if any, has a style of its own."""
    console.print(Text.assemble(mark, (printable(line), style)), soft_wrap=True)


def say_table(console: Console, table: Table) -> None:
    """Print a table whose rows were made by `add_row`."""
    console.print(table)


def add_row(table: Table, *cells: str) -> None:
    """Add a row of texts, which may look like markup, to a table."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def tell(line: str) -> None:
    """Print one line on standard output."""
    print(printable(line))


def complain(line: str) -> None:
    """Print one line on standard error, at once."""
    print(printable(line), file=sys.stderr, flush=True)


def tell_json(value: object, indent: int | None = None) -> None:
    """Print `value`, of structs too, as JSON."""
    print(to_json(value, indent))


def tell_page(page: str) -> None:
    """Print a page in Markdown, whose texts passed through `bench.text.markdown`."""
    print(page.rstrip("\n"))


def code_of_unreadable(sentences: Iterable[str]) -> int:
    """Print the sentences on devices that could not be read; return the exit code, 0 for none."""
    said = list(sentences)
    for each in said:
        complain(f"error: {each}")
    if not said:
        return 0
    complain("All other devices were read. Make these readable, or move them away.")
    return BAD_INPUT
