"""What travels: `answer` is the only function that a client calls on a worker, with JSON.

It measures nothing itself. Another process does (`measuring`), so that Dask's loop and heartbeats
are never in its way, and so that it can be ended when nobody wants the answer any more.
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
from bench.fleet.validation import Station
from bench.process import command_for_module

PROGRAM = "bench.fleet.measuring"
END = b""  # the line after the last message of an answer
LOOK_S = 0.5  # how often the worker looks whether the answer is still wanted
GRACE_S = 10.0
CHUNK_BYTES = 2**16


def answer(topic: str, question: str) -> None:
    """Answer a question of a client; each message goes to the subscribers of the topic at once.

    A worker that was not started by `bench fleet worker` answers nothing.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    measurer = getattr(worker, "measurer", None)
    if measurer is None:
        return
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        is_there = worker.status == Status.running
        return is_there and task is not None and task.state == "executing"

    for line in measurer.answer(question, is_wanted):
        worker.log_event(topic, line)


class Measurer:
    """The process that answers questions, one after another. A context manager."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Measurer:
        self._process = self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def answer(self, question: str, is_wanted: Callable[[], bool]) -> Iterator[str]:
        """Yield the messages that answer a question, as long as they are wanted.

        The process ends if they are not; what it has measured is in the store of the worker.
        """
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = self._started()
        is_whole = False
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(question.encode().replace(b"\n", b" ") + b"\n")
                self._process.stdin.flush()
            for line in _lines(self._process.stdout, is_wanted):
                if line == END:
                    is_whole = True
                    return
                yield line.decode()
        finally:
            if not is_whole:
                self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        with starting("a measuring process"):
            return subprocess.Popen(
                command_for_module(PROGRAM, to_json(self._station)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches the worker only, which ends the process
            )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
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


def _lines(output: IO[bytes], is_wanted: Callable[[], bool]) -> Iterator[bytes]:
    begun = b""
    while is_wanted():
        if not select.select([output], [], [], LOOK_S)[0]:
            continue
        if not (chunk := os.read(output.fileno(), CHUNK_BYTES)):
            return
        *lines, begun = (begun + chunk).split(b"\n")
        yield from lines
