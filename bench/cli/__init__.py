"""The command line: each command parses its flags, calls one function and returns an exit code."""

from bench.cli.entry_point import main

__all__ = ["main"]
