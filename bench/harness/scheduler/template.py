"""The parent's side of a round's template process, from which the children are forked.

Children forked from one parent share its memory layout, which hides how much the layout matters:
so every round has a fresh template. Parent, template and children die together, top down. What a
child leaves behind becomes the template's own child, which ends it. If the template itself is
killed, the parent finds what is left by a mark in its environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import psutil

from bench.errors import UnavailableError, UsageError
from bench.harness.protocol.channel import Channel, ChannelClosedError, OutputPipe, wait_for
from bench.harness.protocol.control import FORK, GRACE_S, READY, REAP
from bench.harness.protocol.messages import Job
from bench.harness.scheduler.child import CaseError, ChildProcess, TemplateDiedError
from bench.process import command_for_module
from bench.records import OUT_OF_MEMORY

DEATHS_TOLERATED = 3
START_DEADLINE_S = 300.0
REQUEST_DEADLINE_S = 60.0  # of a template, which has nothing to do but fork and reap
PROGRAM = "bench.harness.worker.template"  # the module that the template process runs
MARK = "BENCH_ROUND"  # a variable of the environment of a template and all below it


class TemplateDeaths:
    """Counts templates that were killed with nothing finished in between."""

    def __init__(self) -> None:
        self._count = 0
        self._finished: object = None

    def count(self, finished: object) -> None:
        """Another death; `finished` says how far the work is. Raises UsageError at the third."""
        self._count = self._count + 1 if finished == self._finished else 1
        self._finished = finished
        if self._count == DEATHS_TOLERATED:
            raise UsageError(
                f"the measuring processes were killed {self._count} times",
                "Look for what kills them (`dmesg` names the out-of-memory killer); "
                "finished rounds are on record, and the same command goes on.",
            ) from None


class Template:
    """The parent's side of a template process. A context manager: leaving it kills all below."""

    def __init__(self, device_name: str) -> None:
        self._children: list[ChildProcess] = []
        self._mark = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._is_lost = False
        reading, writing = os.pipe()
        self._output = OutputPipe(reading)
        self._control, theirs = socket.socketpair()
        arguments = [device_name, str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(
                command_for_module(PROGRAM, *arguments),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env={**os.environ, MARK: self._mark},
                start_new_session=True,  # Ctrl-C is for the parent, which then ends the rest
            )
        os.close(writing)
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Template:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fork(self, job: Job) -> ChildProcess:
        """Start a child that prepares `job` at once.

        Raises TemplateDiedError, or CaseError where there may be no more processes.
        """
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        with theirs:
            pid = self._request(FORK, [], theirs.fileno(), writing)
        os.close(writing)
        output = OutputPipe(reading)
        if pid is None or pid < 0:
            ours.close()
            output.close()
            if pid is None:
                raise TemplateDiedError
            raise CaseError("start", OUT_OF_MEMORY, f"no process for it: {os.strerror(-pid)}")
        child = ChildProcess(self.reap, Channel(ours, [output]), output, pid)
        self._children.append(child)
        with contextlib.suppress(ChannelClosedError):  # what is asked next finds it dead
            child.channel.send(job)
        return child

    def reap(self, pid: int, output: OutputPipe) -> int | None:
        """Wait for a child to end, or kill it, and end all that it left behind.

        Returns its wait status; KILLED_AT_DEADLINE where it did not end by itself; None if the
        template is dead.
        """
        return self._request(REAP + b"%d" % pid, [output])

    def close(self) -> None:
        """Kill the template and every child, and whatever they started."""
        for child in self._children:
            child.close()
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._output.close()
        if self._is_lost:
            _end_marked(self._mark)

    def _request(self, command: bytes, outputs: list[OutputPipe], *files: int) -> int | None:
        if self._is_lost:
            return None
        self._is_lost = True  # until it has answered: then its answers belong to the questions
        with contextlib.suppress(OSError, ValueError):
            socket.send_fds(self._control, [command], files)
            wait_for(self._control, [self._output, *outputs], REQUEST_DEADLINE_S)
            answer = int(self._control.recv(32))
            self._is_lost = False
            return answer
        return None

    def _await_ready(self) -> None:
        with contextlib.suppress(OSError):
            wait_for(self._control, [self._output], START_DEADLINE_S)
            if self._control.recv(len(READY)) == READY:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        was_killed = self._process.returncode == -signal.SIGKILL
        self._process.kill()
        self._process.wait()
        if was_killed:
            raise TemplateDiedError
        last_line = self._output.tail.strip().rpartition("\n")[2]
        raise UnavailableError(
            f"a measuring process could not start: {last_line or 'no reason given'}",
            "Mend the installation: pip install --force-reinstall torch torchvision timm",
        )


def marked(start: str = "") -> Iterator[psutil.Process]:
    """Living processes whose MARK begins with `start`: the parent's process id, and a hyphen."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK, "")
            if mark and mark.startswith(start) and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _end_marked(mark: str) -> None:
    """End what a template left that could not do so itself."""
    deadline = time.monotonic() + GRACE_S
    while (left := list(marked(mark))) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
