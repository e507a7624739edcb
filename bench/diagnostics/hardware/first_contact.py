"""Runs the steps that have no result yet, as long as the time of a call lasts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.diagnostics.hardware.line import Line, impossible
from bench.diagnostics.hardware.recorded import NOT_YET
from bench.diagnostics.hardware.steps import Step
from bench.errors import BenchError
from bench.storage.pages import write_pages

CALL_S = 540.0


def run(
    steps: Sequence[Step],
    folder: Path,
    environment_id: str,
    say: Callable[[str], None],
    call_s: float = CALL_S,
) -> list[Line]:
    """Return the lines of all steps. Each result is on disk before the next step begins.

    A step whose result is on disk for this environment is not run again. A step that does not fit
    into the rest of `call_s` seconds gives a line that says so, and no result.
    """
    ends_at = time.monotonic() + call_s
    found: list[Line] = []
    for step in steps:
        path = folder / "lines" / f"{_file_name(step.name)}-{environment_id}.json"
        if path.exists():
            found += msgspec.json.decode(path.read_bytes(), type=list[Line])
            continue
        made = _made(step, ends_at)
        for line in made:
            say(f"{line.verdict}  {line.name}: {line.why or line.seen}")
        if not is_unfinished(made):
            write_pages(path.parent, {path.name: msgspec.json.format(msgspec.json.encode(made))})
        found += made
    return found


def is_unfinished(lines: Sequence[Line]) -> bool:
    """Whether a line waits for the next call."""
    return any(NOT_YET in line.why for line in lines)


def _made(step: Step, ends_at: float) -> list[Line]:
    if time.monotonic() + step.needs_s > ends_at:
        return [impossible(step.name, NOT_YET)]
    try:
        return step.make(ends_at)
    except BenchError as error:
        return [Line(step.name, "FAIL", why=error.message)]


def _file_name(name: str) -> str:
    return "-".join(re.findall("[a-z0-9]+", name.lower()))
