"""The template process of a round: imports once, is forked from for each case.

Children forked from one parent share its memory layout and hide how much that matters, so every
round has a fresh template. It must never have run a parallel operation or touched a chip: a
child forked after that hangs. Parent, template and children die together, top down; what a child
leaves behind becomes the template's own child, which ends it. If the template is killed, the
parent finds what is left by a mark in its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator

import psutil

from bench import devices, launch, worker
from bench.child import MADE_TO_END, CaseError, ChildProcess, TemplateDiedError
from bench.errors import UnavailableError
from bench.messages import Channel, ChannelClosedError, Job, Voice, wait_for
from bench.records import OUT_OF_MEMORY

__all__ = ["CaseError", "ChildProcess", "Template", "TemplateDiedError"]

START_DEADLINE_S = 300.0
REQUEST_DEADLINE_S = 60.0  # of a template, which has nothing to do but fork and reap
GRACE_S = 2.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
READY = b"ready"
MARK = "BENCH_ROUND"  # a variable of the environment of a template and all below it


class Template:
    """The parent's side of a template process. A context manager: leaving it kills all below."""

    def __init__(self, device_name: str) -> None:
        self._children: list[ChildProcess] = []
        self._mark = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._is_lost = False
        reading, writing = os.pipe()
        self._voice = Voice(reading)
        self._control, theirs = socket.socketpair()
        arguments = [device_name, str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(
                launch.module(__name__, *arguments),
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
            pid = self._request(b"fork", [], theirs.fileno(), writing)
        os.close(writing)
        voice = Voice(reading)
        if pid is None or pid < 0:
            ours.close()
            voice.close()
            if pid is None:
                raise TemplateDiedError
            raise CaseError("start", OUT_OF_MEMORY, f"no process for it: {os.strerror(-pid)}")
        child = ChildProcess(self.reap, Channel(ours, [voice]), voice, pid)
        self._children.append(child)
        with contextlib.suppress(ChannelClosedError):  # what is asked next finds it dead
            child.channel.send(job)
        return child

    def reap(self, pid: int, voice: Voice) -> int | None:
        """Wait for a child to end, or end it, and all it left behind.

        Its wait status, MADE_TO_END where it did not by itself, None if the template is dead.
        """
        return self._request(b"reap %d" % pid, [voice])

    def close(self) -> None:
        """Kill the template and every child, and whatever they started."""
        for child in self._children:
            child.close()
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._voice.close()
        if self._is_lost:
            _end_marked(self._mark)

    def _request(self, command: bytes, voices: list[Voice], *files: int) -> int | None:
        if self._is_lost:
            return None
        self._is_lost = True  # until it has answered: then its answers belong to the questions
        with contextlib.suppress(OSError, ValueError):
            socket.send_fds(self._control, [command], files)
            wait_for(self._control, [self._voice, *voices], REQUEST_DEADLINE_S)
            answer = int(self._control.recv(32))
            self._is_lost = False
            return answer
        return None

    def _await_ready(self) -> None:
        with contextlib.suppress(OSError):
            wait_for(self._control, [self._voice], START_DEADLINE_S)
            if self._control.recv(len(READY)) == READY:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        was_killed = self._process.returncode == -signal.SIGKILL
        self._process.kill()
        self._process.wait()
        if was_killed:
            raise TemplateDiedError
        last_line = self._voice.last_words.strip().rpartition("\n")[2]
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


# --- the template's own side ---------------------------------------------------------------


def main() -> None:
    """Import what the device needs, then fork and reap children until the parent is gone."""
    device_name, control_fd, parent_pid = sys.argv[1:]
    die_with(int(parent_pid))
    adopt_orphans()
    device = devices.DEVICES[device_name]
    device.preload()
    gc.freeze()  # a collection in a child would write to every page shared with this process
    control = socket.socket(fileno=int(control_fd))
    control.sendall(READY)
    children: set[int] = set()
    while True:
        command, files, _, _ = socket.recv_fds(control, 64, 2)
        if command == b"fork":
            if (pid := _fork(device, control, *files)) > 0:
                children.add(pid)
            control.sendall(b"%d" % pid)
        elif command.startswith(b"reap "):
            status = _reap(pid := int(command[5:]))
            children.discard(pid)
            _end_all_but(children)
            control.sendall(b"%d" % status)
        else:
            return


def _fork(device: devices.Device, control: socket.socket, channel_fd: int, voice_fd: int) -> int:
    """The child's process id; the error's number, negative, where there may be none."""
    template_pid = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # a limit on processes, or no memory for one
        pid = -(error.errno or errno.EAGAIN)
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same; whoever comes first
        os.close(channel_fd)
        os.close(voice_fd)
        return pid
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        die_with(template_pid)
        adopt_orphans()  # as long as it lives: then the template knows whose they were
        control.close()
        os.dup2(voice_fd, 1)
        os.dup2(voice_fd, 2)
        os.close(voice_fd)
        channel = Channel(socket.socket(fileno=channel_fd))
        os.register_at_fork(after_in_child=channel.close)  # its end tells that of this process
        job = channel.receive_request()
        if isinstance(job, Job):
            worker.work(channel, job, device)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):  # a network may have closed or replaced them
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(pid: int) -> int:
    """Give a child that is ending a moment to do so, then make it; its wait status if it did."""
    deadline = time.monotonic() + GRACE_S
    while not (waited := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.002)
    ended, status = waited
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)  # what it left behind, where nobody adopts orphans
    return status if ended else MADE_TO_END


def _end_all_but(children: set[int]) -> None:
    """End what dead children left behind, whatever group or session it fled to."""
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        left = [each.pid for each in psutil.Process().children() if each.pid not in children]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)


def die_with(parent_pid: int) -> None:
    """Have Linux kill this process when its parent dies; elsewhere its channel closes."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def adopt_orphans() -> None:
    """Have Linux make descendants whose parents die children of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
