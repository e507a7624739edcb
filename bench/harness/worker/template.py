"""The template process of a round: it imports the packages once, and forks a child per case.

The template must never run a parallel operation or use the chip: a child forked after that hangs.
The template ends when its parent is gone. It kills the processes that its children leave behind.
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

from bench.devices import DEVICES, Driver, clocks
from bench.harness.protocol.channel import Channel
from bench.harness.protocol.control import FORK, GRACE_S, KILLED_AT_DEADLINE, READY, REAP
from bench.harness.protocol.messages import Job, Probe, Trial
from bench.harness.worker import case as worker
from bench.harness.worker import probe, trial

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Import the device's packages, if asked to, then fork and reap children for the parent."""
    device_name, control_fd, parent_pid, imports = sys.argv[1:]
    _die_of_interrupts()
    die_with_parent(int(parent_pid))
    adopt_orphans()
    driver = DEVICES[device_name]
    if int(imports):
        driver.preload()
    gc.freeze()  # a collection in a child would copy every shared page
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
            _kill_leftovers(children)
            control.sendall(b"%d" % status)
        else:
            return


def _die_of_interrupts() -> None:
    """Let SIGINT end this process at once; the parent has blocked it until here."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _fork(driver: Driver, control: socket.socket, channel_fd: int, output_fd: int) -> int:
    """Fork a child. Return its process id, or -errno where the system allows no more processes."""
    template_pid = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # the limit on processes, or no memory
        pid = -(error.errno or errno.EAGAIN)
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same; the order is open
        os.close(channel_fd)
        os.close(output_fd)
        return pid
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        die_with_parent(template_pid)
        adopt_orphans()  # until this child ends; then the template adopts them
        control.close()
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.close(output_fd)
        channel = Channel(socket.socket(fileno=channel_fd))
        os.register_at_fork(
            after_in_child=channel.close
        )  # else a grandchild keeps the channel open
        job = channel.receive_request()
        if isinstance(job, Job):
            worker.work(channel, job, driver)
        elif isinstance(job, Probe):
            probe.answer(channel, job)
        elif isinstance(job, Trial):
            trial.answer(channel, job)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):  # a network may have closed these streams
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(pid: int) -> int:
    """Wait up to GRACE_S seconds until a child ends, then kill it and its process group.

    Returns its wait status, or KILLED_AT_DEADLINE if it did not end in time.
    """
    deadline = clocks.monotonic() + GRACE_S
    while not (waited := os.waitpid(pid, os.WNOHANG))[0] and clocks.monotonic() < deadline:
        time.sleep(0.002)
    ended, status = waited
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)  # its descendants, on systems without subreapers
    return status if ended else KILLED_AT_DEADLINE


def _kill_leftovers(children: set[int]) -> None:
    """Kill the processes that dead children left behind, in any process group or session."""
    deadline = clocks.monotonic() + GRACE_S
    while clocks.monotonic() < deadline:
        left: list[int] = []
        with contextlib.suppress(psutil.Error, OSError):  # without /proc, nobody lists them
            left = [p.pid for p in psutil.Process().children() if p.pid not in children]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to kill this process when its parent dies.

    On other systems, this process ends when its channel closes.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def adopt_orphans() -> None:
    """Ask Linux to make this process the parent of descendants whose own parent dies."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
