"""Runs the steps that have no settled result yet, as long as the time of a call lasts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.devices.host import load, usable_cpus
from bench.diagnostics.hardware.call import Call, TimeOverError
from bench.diagnostics.hardware.line import Line, failure, impossible, refused
from bench.diagnostics.hardware.recorded import waiting
from bench.diagnostics.hardware.spread import BUSY
from bench.diagnostics.hardware.steps import Step
from bench.errors import BenchError
from bench.storage.pages import write_pages

OVERLOADED = 2.0  # the load average of a minute / CPUs
Say = Callable[[str], None]


def run(
    steps: Sequence[Step], folder: Path, environment_id: str, say: Say, call: Call | None = None
) -> list[Line]:
    """Return the lines of all steps. Each result is on disk before the next step begins.

    Steps without a result on disk for this environment run first. Then steps run again that have
    a line which failed or could not be decided; if the time is over before, such a line stays. A
    step that does not fit into the rest of the call gives a line that says so, and no result.
    """
    call = call or Call()
    paths = {step.name: folder / "lines" / _file_name(step, environment_id) for step in steps}
    found = {name: _decoded(path) for name, path in paths.items() if path.exists()}
    todo = [step for step in steps if step.name not in found]
    again = [step for step in steps if any(each.repeats for each in found.get(step.name, []))]
    if failed := [step.name for step in again if step.needs_s]:
        say(f"after what is missing, measured again: {', '.join(failed)}")
    for step in [*todo, *again]:
        made = _made(step, call)
        if step in again and all(line.is_unfinished for line in made):
            continue  # the earlier result stays
        for line in made:
            if line != waiting(step.name):  # the end of the call names these
                say(f"{line.verdict}  {line.name}: {line.why or line.seen}")
        if not any(line.is_unfinished for line in made):
            _save(paths[step.name], made)
        found[step.name] = made
    return [line for step in steps for line in found[step.name]]


def _made(step: Step, call: Call) -> list[Line]:
    if not call.has(step.needs_s):
        return [waiting(step.name)]
    most_s = min(step.most_s, call.left_s)
    try:
        with call.stopping(most_s):
            return step.make(call)
    except TimeOverError:
        if most_s < step.most_s:
            return [waiting(step.name)]
        return [_too_slow(step.name, most_s)]
    except BenchError as error:
        return [refused(step.name, error)]


def _too_slow(name: str, most_s: float) -> Line:
    """Return a failure, or NOT POSSIBLE where other programs leave no CPU to the step."""
    why = f"it did not end within {most_s:.0f} s"
    if (busy := overload()) is None:
        return failure(name, why)
    return impossible(name, f"{why}, with {busy}: {BUSY}", next_call="repeats")


def overload() -> str | None:
    """Return the load of the machine if programs wait for a CPU most of the time; else None.

    A step keeps each CPU busy itself, and a compiler as many processes again.
    """
    average, cpus = load(), usable_cpus()
    if average is None or average <= OVERLOADED * cpus:
        return None
    return f"a load of {average:.1f} on {cpus} CPUs"


def _save(path: Path, lines: Sequence[Line]) -> None:
    write_pages(path.parent, {path.name: msgspec.json.format(msgspec.json.encode(lines))})


def _decoded(path: Path) -> list[Line]:
    return msgspec.json.decode(path.read_bytes(), type=list[Line])


def _file_name(step: Step, environment_id: str) -> str:
    return f"{'-'.join(re.findall('[a-z0-9]+', step.name.lower()))}-{environment_id}.json"
