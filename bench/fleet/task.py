"""What travels: `answer` is the only function that a client calls on a worker, with JSON.

It measures nothing itself. A process of its own does (`measuring`), so that Dask's loop and
heartbeats are never in its way, and it can be ended when nobody wants the answer any more.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from typing import IO

from bench.errors import starting
from bench.fleet.errand import to_json
from bench.fleet.measuring import Order
from bench.process import command_for_module

PROGRAM = "bench.fleet.measuring"
LOOK_S = 0.5  # how often the worker looks whether the answer is still wanted
GRACE_S = 10.0
CHUNK_BYTES = 2**16


def answer(topic: str, question: str) -> None:
    """Answer a question of a client; each message goes to the subscribers of the topic at once.

    A worker that was not started by `bench fleet worker` answers nothing.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    station = getattr(worker, "station", None)
    if station is None:
        return
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        is_there = worker.status == Status.running
        return is_there and task is not None and task.state == "executing"

    for line in _lines_of(to_json(Order(question, station)), is_wanted):
        worker.log_event(topic, line)


def _lines_of(order: str, is_wanted: Callable[[], bool]) -> Iterator[str]:
    """Yield what a process with this order writes, line by line, as long as it is wanted."""
    with starting("a measuring process"):
        process = subprocess.Popen(
            command_for_module(PROGRAM),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the worker only, which ends the process
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(order.encode() + b"\n")
            process.stdin.flush()
        yield from _read(process.stdout, is_wanted)
    finally:
        _end(process)


def _read(output: IO[bytes], is_wanted: Callable[[], bool]) -> Iterator[str]:
    begun = b""
    while is_wanted():
        if not select.select([output], [], [], LOOK_S)[0]:
            continue
        if not (chunk := os.read(output.fileno(), CHUNK_BYTES)):
            return
        *lines, begun = (begun + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process; what it has measured is in the store of the worker."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # it ends, as if the worker were gone
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
