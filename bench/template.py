"""The template process of a round: imports once, is forked from for each case.

Children forked from one parent share its memory layout and hide how much that matters, so every
round has a fresh template. It must never have run a parallel operation or touched a chip: a
child forked after that hangs. Parent, template and children die together, top down.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from typing import IO

import msgspec

from bench import devices, worker
from bench.errors import UnavailableError
from bench.messages import Broken, Channel, ChannelClosedError, Entered, Job, Reply, Request
from bench.records import Stage

START_DEADLINE_S = 300.0
GRACE_S = 2.0
TAIL_BYTES = 2000
PR_SET_PDEATHSIG = 1
READY = b"ready"


class CaseError(Exception):
    """A case ended before its measurement did: where, what kind, and the last of its stderr."""

    def __init__(self, stage: Stage, error: str, message: str, stderr_tail: str = "") -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error
        self.message = message
        self.stderr_tail = stderr_tail


class TemplateDiedError(Exception):
    """The template was killed from outside, and its children with it."""


class Template:
    """The parent's side of a template process. A context manager: leaving it kills all below."""

    def __init__(self, device_name: str) -> None:
        self._children: list[ChildProcess] = []
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._control, theirs = socket.socketpair()
        self._control.settimeout(START_DEADLINE_S)
        arguments = [device_name, str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends the rest
            )
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
        """Start a child that prepares `job` at once. Raises TemplateDiedError."""
        ours, theirs = socket.socketpair()
        stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            pid = self._request(b"fork", theirs.fileno(), stderr.fileno())
        if pid is None:
            ours.close()
            stderr.close()
            raise TemplateDiedError
        child = ChildProcess(self, Channel(ours), stderr, pid)
        self._children.append(child)
        with contextlib.suppress(ChannelClosedError):  # what is asked next finds it dead
            child.channel.send(job)
        return child

    def reap(self, pid: int) -> int | None:
        """Wait for a child to end, or end it; its exit code, -n for signal n; None if unknown."""
        status = self._request(b"reap %d" % pid)
        return None if status is None else os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Kill the template and every child, and whatever they started."""
        for child in self._children:
            child.close()
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._stderr.close()

    def _request(self, command: bytes, *files: int) -> int | None:
        try:
            socket.send_fds(self._control, [command], files)
            return int(self._control.recv(32) or b"none")
        except (OSError, ValueError):
            return None

    def _await_ready(self) -> None:
        with contextlib.suppress(OSError):
            if self._control.recv(len(READY)) == READY:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        was_killed = self._process.returncode == -signal.SIGKILL
        self._process.kill()
        self._process.wait()
        if was_killed:
            raise TemplateDiedError
        last_line = tail(self._stderr).strip().rpartition("\n")[2]
        raise UnavailableError(
            f"a measuring process could not start: {last_line or 'no reason given'}",
            "Mend the installation: pip install --force-reinstall torch torchvision timm",
        )


class ChildProcess:
    """The parent's side of one child."""

    def __init__(self, template: Template, channel: Channel, stderr: IO[bytes], pid: int) -> None:
        self.channel = channel
        self._template = template
        self._stderr = stderr
        self._pid = pid
        self._ended = False
        self._stage: Stage = "start"

    def ask(self, request: Request) -> None:
        """Send a request. Raises CaseError where the child is gone."""
        try:
            self.channel.send(request)
        except ChannelClosedError:
            raise self._post_mortem() from None

    def answer(self, deadline_s: float) -> Reply:
        """Wait for what the child says next, besides the stages it enters.

        Raises CaseError where it raised, died, or said nothing for `deadline_s` seconds.
        """
        while True:
            try:
                reply = self.channel.receive_reply(deadline_s)
            except TimeoutError:
                self.kill()
                raise self._error("Timeout", f"no answer within {deadline_s:g} s") from None
            except (ChannelClosedError, msgspec.DecodeError):
                raise self._post_mortem() from None
            if isinstance(reply, Entered):
                self._stage = reply.stage
            elif isinstance(reply, Broken):
                self._stage = reply.stage
                self.end()
                raise self._error(reply.error, reply.message)
            else:
                return reply

    def kill(self) -> None:
        """End the child and all it started, now."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            self.end()

    def close(self) -> None:
        """Kill, and let go of what it wrote."""
        self.kill()
        self._stderr.close()

    def end(self) -> int | None:
        """Wait for the child to end by itself, for a moment; its exit code."""
        if self._ended:
            return None
        self._ended = True
        self.channel.close()
        return self._template.reap(self._pid)

    def _post_mortem(self) -> CaseError:
        """What the child died of. Raises TemplateDiedError where it was not alone."""
        code = self.end()
        if code is None:
            raise TemplateDiedError
        if code < 0:
            return self._error("Killed", f"the process died of {signal.Signals(-code).name}")
        return self._error("Exited", f"the process ended with exit code {code}")

    def _error(self, error: str, message: str) -> CaseError:
        return CaseError(self._stage, error, message, tail(self._stderr))


def tail(file: IO[bytes]) -> str:
    """The last of what a process wrote to `file`, which it may still have open."""
    size = os.fstat(file.fileno()).st_size
    last = os.pread(file.fileno(), TAIL_BYTES, max(size - TAIL_BYTES, 0))
    return last.decode(errors="replace")


# --- the template's own side ---------------------------------------------------------------


def main() -> None:
    """Import what the device needs, then fork and reap children until the parent is gone."""
    device_name, control_fd, parent_pid = sys.argv[1:]
    die_with(int(parent_pid))
    device = devices.DEVICES[device_name]
    device.preload()
    gc.freeze()  # a collection in a child would write to every page shared with this process
    control = socket.socket(fileno=int(control_fd))
    control.sendall(READY)
    while True:
        command, files, _, _ = socket.recv_fds(control, 64, 2)
        if command == b"fork":
            control.sendall(b"%d" % _fork(device, control, *files))
        elif command.startswith(b"reap "):
            control.sendall(b"%d" % _reap(int(command[5:])))
        else:
            return


def _fork(device: devices.Device, control: socket.socket, channel_fd: int, stderr_fd: int) -> int:
    template_pid = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same; whoever comes first
        os.close(channel_fd)
        os.close(stderr_fd)
        return pid
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        die_with(template_pid)
        control.close()
        os.dup2(stderr_fd, 1)
        os.dup2(stderr_fd, 2)
        os.close(stderr_fd)
        channel = Channel(socket.socket(fileno=channel_fd))
        job = channel.receive_request()
        if isinstance(job, Job):
            worker.work(channel, job, device)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _reap(pid: int) -> int:
    """Give a child that is ending a moment to do so, then make it; returns its wait status."""
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.002)
    else:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)  # what it left behind
    return status


def die_with(parent_pid: int) -> None:
    """Have Linux kill this process when its parent dies; elsewhere its channel closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


if __name__ == "__main__":
    main()
