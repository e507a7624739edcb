"""Locks: one run at a time measures on a device, and one run at a time writes to a file.

Each lock is a `flock` on a file. The kernel frees it when the process that holds it ends, so a
killed run leaves no lock behind. Child processes do not inherit a lock, because Python opens files
with close-on-exec.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil

from bench.errors import UsageError
from bench.records import Chip
from bench.storage.files import is_at
from bench.text import printable

WAIT_S = 3.0  # a killed run may need this long to end
POLL_S = 0.1
COMMAND_SHOWN = 80  # characters
READABLE_BY_ALL = 0o444  # a lock needs no permission to write
SCRATCH = "bench-scratch-"
# A file system without locks. POSIX locks do not replace `flock`: a process loses them when it
# closes any descriptor of the file, and this process reads the file that it writes to.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
OnWait = Callable[[str], None]


def acquire(file: IO[bytes], doing: str, on_wait: OnWait | None = None) -> None:
    """Lock `file`, so that only this process is `doing` it, such as "measuring on a chip".

    Closing the file or ending the process frees the lock. Without `on_wait`, tries for 3 s and
    then raises UsageError, which names the holder. With `on_wait`, waits without limit and calls
    `on_wait` once with the holder's name. Raises UsageError if the file system has no locks.
    """
    deadline = time.monotonic() + WAIT_S
    has_reported = False
    while not _locked(file.fileno(), f"keep other runs from {doing}"):
        if time.monotonic() > deadline and not has_reported:
            by = holder(os.fstat(file.fileno()))
            other = f"another run is {doing}" + (f": {by}" if by else "")
            if on_wait is None:
                raise UsageError(other, "Stop that run, or add --wait to wait for its end.")
            on_wait(f"waiting: {other}")
            has_reported = True
        time.sleep(POLL_S)


@contextlib.contextmanager
def device(chip: Chip, on_wait: OnWait | None = None, *, is_shared: bool = False) -> Iterator[None]:
    """Hold the lock of `chip`, against runs of all users; no lock if `is_shared`.

    Raises UsageError as `acquire` does, or if the file of the lock cannot be opened.
    """
    if is_shared:
        yield
        return
    path = device_file(chip.slug)
    while True:
        with _opened(path) as file:
            acquire(file, f"measuring on {chip.slug}", on_wait)
            if is_at(path, file):  # else the file was removed while this run waited
                yield
                return


def device_file(slug: str) -> Path:
    """The file of a device's lock; it is empty and is never removed."""
    return shared_folder() / f"bench-{slug}.lock"


def shared_folder() -> Path:
    """The folder of all locks: $TMPDIR, else /tmp.

    `tempfile.gettempdir()` would choose another folder while the disk is full.
    """
    folder = os.environ.get("TMPDIR")
    return Path(folder if folder and os.path.isdir(folder) else "/tmp")


def device_files() -> list[Path]:
    """The lock files of all devices that were ever locked on this machine."""
    return sorted(shared_folder().glob(device_file("*").name))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder; `bench doctor` finds it if its process was killed."""
    made = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=shared_folder())
    with made as name, _folder(Path(name)):
        yield Path(name)


def remove_scratch(path: Path) -> None:
    """Remove a scratch folder. Raises BlockingIOError if the process that made it is alive."""
    with _folder(path):
        shutil.rmtree(path)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not _locked(number, f"keep other programs from removing {path}"):
            raise BlockingIOError(errno.EWOULDBLOCK, "its process is alive")
        yield
    finally:
        os.close(number)


def holder(of: os.stat_result) -> str | None:
    """The holder of the lock on a file: `process 12 (python -m bench run)`; None if not found.

    Reads /proc/locks, which does not list processes in other containers.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and _is_file(words[5], of):
                return describe_process(int(words[4]))
    return None


def is_held(path: Path) -> bool:
    """Whether any process holds the lock on a file, also one in another container.

    Takes a shared lock for a moment to find out.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def describe_process(pid: int) -> str:
    """A process and its command on one line: `process 12 (python -m bench run)`."""
    command = ""
    with contextlib.suppress(psutil.Error, OSError):
        command = " ".join(psutil.Process(pid).cmdline())
    if len(command) > COMMAND_SHOWN:
        command = f"{command[:COMMAND_SHOWN]}…"
    return f"process {pid} ({printable(command)})" if command else f"process {pid}"


def _is_file(text: str, of: os.stat_result) -> bool:
    """Whether `text` names the file `of`: `major:minor:inode`, the first two hexadecimal."""
    major, minor, inode = text.split(":")
    device_number = os.makedev(int(major, 16), int(minor, 16))
    return int(inode) == of.st_ino and device_number == of.st_dev


def _locked(number: int, aim: str) -> bool:
    """Lock an open file; False if another process holds the lock.

    Raises UsageError if the file system has no locks; its message says that it cannot `aim`.
    """
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise UsageError(
            f"cannot {aim}: the file system has no locks ({error.strerror})",
            "Choose a folder on a local disk: --out for results, the variable TMPDIR for devices.",
        ) from None
    return True


def _opened(path: Path) -> IO[bytes]:
    """Open or create a file that any user may lock.

    Raises UsageError if it is a link or not a regular file, or if it cannot be opened.
    """
    reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # else a pipe would block
    try:
        try:
            number = os.open(path, reading | os.O_CREAT | os.O_EXCL, READABLE_BY_ALL)
        except FileExistsError:
            number = os.open(path, reading)
        else:
            os.fchmod(number, READABLE_BY_ALL)  # the umask may have removed bits
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise OSError(0, "it is no regular file")
    except OSError as error:
        raise UsageError(
            f"cannot lock {path}: {error.strerror}", "Remove it, or set TMPDIR to another folder."
        ) from error
    return os.fdopen(number, "rb")
