"""Measures one group of lines in a process of its own, so that a crash or a hang costs one group.

`python -m bench.diagnostics.hardware.measure DEVICE GROUP` prints the lines as JSON. What libraries
print to stdout goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import msgspec

from bench.devices import select
from bench.diagnostics.hardware import arithmetic, memory, sensing, timing
from bench.diagnostics.hardware.instruments import Instruments, TorchInstruments
from bench.diagnostics.hardware.line import Line, refused
from bench.errors import BenchError
from bench.records import Case

GROUPS: dict[str, Callable[[Instruments, str | None], Iterator[Line]]] = {
    "tf32": arithmetic.lines,
    "times": lambda instruments, _: timing.lines(instruments),
    "sensors": lambda instruments, _: sensing.lines(instruments),
    "memory": lambda instruments, _: memory.lines(instruments),
}


def lines_of(group: str, instruments: Instruments, missing_tf32: str | None) -> list[Line]:
    """Measure the lines of a group of GROUPS; `missing_tf32` is why the chip lacks TF32."""
    return list(GROUPS[group](instruments, missing_tf32))


def main() -> None:
    """Open a session, and print the lines of the group; an error of the user is a line, too."""
    name, group = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        driver, chip = select(name)
        missing = driver.missing_precision("tf32", chip)
        with driver.session(Case("", "", device=driver.name, threads=chip.threads)) as session:
            found = lines_of(group, TorchInstruments(session), missing)
    except BenchError as error:
        found = [refused(group, error)]
    with open(answers, "wb") as file:
        file.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
