"""The template process of a round: imports once, and is forked for each case.

It must never have run a parallel operation or touched a chip: a child forked after that hangs.
It ends when its parent is gone, and ends what its children leave behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import signal
import socket
import sys
import time
import traceback

import psutil

from bench.devices import DEVICES, Driver
from bench.harness.protocol.channel import Channel
from bench.harness.protocol.control import FORK, GRACE_S, KILLED_AT_DEADLINE, READY, REAP
from bench.harness.protocol.messages import Job
from bench.harness.worker import case as worker

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Import what the device needs, then fork and reap children until the parent is gone."""
    device_name, control_fd, parent_pid = sys.argv[1:]
    die_with(int(parent_pid))
    adopt_orphans()
    driver = DEVICES[device_name]
    driver.preload()
    gc.freeze()  # a collection in a child would write to every page shared with this process
    control = socket.socket(fileno=int(control_fd))
    control.sendall(READY)
    children: set[int] = set()
    while True:
        command, files, _, _ = socket.recv_fds(control, 64, 2)
        if command == FORK:
            if (pid := _fork(driver, control, *files)) > 0:
                children.add(pid)
            control.sendall(b"%d" % pid)
        elif command.startswith(REAP):
            status = _reap(pid := int(command[len(REAP) :]))
            children.discard(pid)
            _end_all_but(children)
            control.sendall(b"%d" % status)
        else:
            return


def _fork(driver: Driver, control: socket.socket, channel_fd: int, output_fd: int) -> int:
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
        os.close(output_fd)
        return pid
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        die_with(template_pid)
        adopt_orphans()  # as long as it lives: then the template knows whose they were
        control.close()
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.close(output_fd)
        channel = Channel(socket.socket(fileno=channel_fd))
        os.register_at_fork(after_in_child=channel.close)  # its end tells that of this process
        job = channel.receive_request()
        if isinstance(job, Job):
            worker.work(channel, job, driver)
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
    return status if ended else KILLED_AT_DEADLINE


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
