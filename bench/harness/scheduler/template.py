"""The parent's side of a round's template process, from which the children are forked.

Children forked from one process share its memory layout, and the layout changes the latency. Every
round therefore starts a fresh template, so that rounds sample different layouts. When the parent
dies, the template dies; when the template dies, its children die. Linux gives the processes that a
child leaves behind to the template, which kills them. If the template itself is killed, the parent
finds these processes by the variable MARK in their environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import psutil

from bench.devices.installation import how_to_install
from bench.errors import UnavailableError, UsageError, starting
from bench.harness.protocol.channel import Channel, ChannelClosedError, OutputPipe, wait_for
from bench.harness.protocol.control import FORK, GRACE_S, READY, REAP
from bench.harness.protocol.messages import Job, Probe, Trial
from bench.harness.scheduler.child import CaseError, ChildProcess, TemplateDiedError
from bench.models import user
from bench.process import command_for_module
from bench.records import OUT_OF_MEMORY

MAX_DEATHS = 3
# Signals that another program sends to end a process; a process that crashes gets others.
ENDING = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
LIMITS = "If the reason is a limit on threads, processes or memory, raise it (`ulimit -u -v`)."
START_DEADLINE_S = 300.0
REQUEST_DEADLINE_S = 60.0  # for a template to fork or reap one child
PROGRAM = "bench.harness.worker.template"  # the module that the template process runs
MARK = "BENCH_ROUND"  # environment variable of a template and of all processes below it


class TemplateDeaths:
    """Counts the templates in a row that were killed before they finished a case."""

    def __init__(self) -> None:
        self._count = 0
        self._finished: object = None

    def count(self, finished: object) -> None:
        """Count one death; the count restarts if `finished`, the progress so far, has changed.

        Raises UsageError at the MAX_DEATHS-th death in a row.
        """
        self._count = self._count + 1 if finished == self._finished else 1
        self._finished = finished
        if self._count == MAX_DEATHS:
            raise UsageError(
                f"the measuring processes were killed {self._count} times in a row",
                "Find the program that kills them; `dmesg` names the out-of-memory killer. "
                "Finished rounds are saved: run the same command again to resume.",
            ) from None


class Template:
    """The parent's side of a template process. A context manager; its exit kills all processes.

    The process starts with `variables` besides those of the shell. Without `imports`, it does not
    import the packages of the device before it forks.
    """

    def __init__(
        self,
        device_name: str,
        variables: Mapping[str, str] = MappingProxyType({}),
        *,
        imports: bool = True,
    ) -> None:
        self._children: list[ChildProcess] = []
        self._mark = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._is_lost = False
        reading, writing = os.pipe()
        self._output = OutputPipe(reading)
        self._control, theirs = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            with theirs, starting("a measuring process"), _without_interrupts():
                arguments = [device_name, str(theirs.fileno()), str(os.getpid()), str(int(imports))]
                self._process = self._start(arguments, variables, theirs.fileno(), writing)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(writing)
        try:
            self._await_ready(self._process)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Template:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(
        self, arguments: Sequence[str], variables: Mapping[str, str], control: int, output: int
    ) -> subprocess.Popen[bytes]:
        """Start the process; it has ends of the control socket and of the output pipe."""
        return subprocess.Popen(
            command_for_module(PROGRAM, *arguments),
            pass_fds=[control],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **variables, MARK: self._mark},
            start_new_session=True,  # Ctrl-C reaches the parent only, which kills the template
        )

    def fork(self, job: Job | Probe | Trial) -> ChildProcess:
        """Start a child that begins with `job` at once.

        Raises TemplateDiedError where the template is dead, and CaseError where the system allows
        no more processes.
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
        with contextlib.suppress(ChannelClosedError):  # the next request reports the dead child
            child.channel.send(job)
        return child

    def reap(self, pid: int, output: OutputPipe) -> int | None:
        """Wait until a child has ended, or kill it; kill the processes that it left behind.

        Returns its wait status, KILLED_AT_DEADLINE if the template had to kill it, or None if the
        template is dead.
        """
        return self._request(REAP + b"%d" % pid, [output])

    def close(self) -> None:
        """Kill the template, every child, and all processes that they started."""
        for child in self._children:
            child.close()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._control.close()
        self._output.close()
        if self._is_lost:
            _kill_marked(self._mark)

    def _request(self, command: bytes, outputs: list[OutputPipe], *files: int) -> int | None:
        if self._is_lost:
            return None
        # Lost until the answer comes: a late answer would be taken for that of the next command.
        self._is_lost = True
        with contextlib.suppress(OSError, ValueError):
            socket.send_fds(self._control, [command], files)
            wait_for(self._control, [self._output, *outputs], REQUEST_DEADLINE_S)
            answer = int(self._control.recv(32))
            self._is_lost = False
            return answer
        return None

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            wait_for(self._control, [self._output], START_DEADLINE_S)
            if self._control.recv(len(READY)) == READY:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        was_ended = -(process.returncode or 0) in ENDING
        process.kill()
        process.wait()
        if was_ended:
            raise TemplateDiedError
        last_line = self._output.tail.strip().rpartition("\n")[2]
        repair = how_to_install("torch", "torchvision", "timm", again=True)
        raise UnavailableError(
            f"a measuring process could not start: {last_line or 'it gave no reason'}",
            "\n".join([*user.unreadable_packages(), f"Repair the installation: {repair}", LIMITS]),
        )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT here, and in a process that is started here until it unblocks SIGINT itself.

    Python's own start and some packages turn an interrupt into another error, which looks like a
    broken installation. A SIGINT that comes meanwhile is delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def marked_processes(start: str = "") -> Iterator[psutil.Process]:
    """Yield the living processes whose variable MARK begins with `start`.

    A mark is "<process id of the parent>-<random hex>". Without /proc, there is nothing to read.
    """
    with contextlib.suppress(OSError, IndexError):  # psutil takes the lowest number in /proc
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                mark = process.environ().get(MARK, "")
                if mark and mark.startswith(start) and process.status() != psutil.STATUS_ZOMBIE:
                    yield process


def _kill_marked(mark: str) -> None:
    """Kill the processes that a killed template left behind."""
    deadline = time.monotonic() + GRACE_S
    while (left := list(marked_processes(mark))) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
