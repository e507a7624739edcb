"""One run at a time on a device, and into a file: locks that the kernel frees with their holder.

`flock` on a file of each. Nothing has to be tidied up after a run that was killed, and children do
not inherit a lock: Python opens files so that programs which it starts do not have them.
"""

from __future__ import annotations

import contextlib
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

PATIENCE_S = 3.0  # the last moments of a killed run may last that long
LOOK_S = 0.1
COMMAND_SHOWN = 80  # letters
ANYBODY_READS = 0o444  # which is all that a lock needs
SCRATCH = "bench-scratch-"
OnWait = Callable[[str], None]


def hold(file: IO[bytes], doing: str, on_wait: OnWait | None = None) -> None:
    """Lock `file`, and so be alone in `doing`; closing it, or the end of this process, frees it.

    Tries for 3 s, or with `on_wait` as long as it takes, and tells that once whom it waits for.
    Raises UsageError that names the holder.
    """
    deadline = time.monotonic() + PATIENCE_S
    told = False
    while not _locked(file):
        if time.monotonic() > deadline and not told:
            by = holder(os.fstat(file.fileno()))
            other = f"another run is {doing}" + (f": {by}" if by else "")
            if on_wait is None:
                raise UsageError(other, "Stop it, or wait: `run` and `profile` do with --wait.")
            on_wait(f"waiting: {other}")
            told = True
        time.sleep(LOOK_S)


@contextlib.contextmanager
def device(chip: Chip, on_wait: OnWait | None = None, *, is_shared: bool = False) -> Iterator[None]:
    """Be the only run on `chip`, of any user of this machine, unless several may share it.

    Raises UsageError as `hold` does, or where the lock's file cannot be opened.
    """
    if is_shared:
        yield
        return
    path = device_file(chip.slug)
    while True:
        with _opened(path) as file:
            hold(file, f"measuring on {chip.slug}", on_wait)
            if is_at(path, file):  # else somebody removed it while we waited
                yield
                return


def device_file(slug: str) -> Path:
    """The file that stands for a device; it is empty, and is left where it is."""
    return shared_folder() / f"bench-{slug}.lock"


def shared_folder() -> Path:
    """Where all runs look, full or not; `tempfile` goes elsewhere while a disk is full."""
    named = os.environ.get("TMPDIR")
    return Path(named if named and os.path.isdir(named) else "/tmp")


def device_files() -> list[Path]:
    """Those of all devices that were ever locked here."""
    return sorted(shared_folder().glob(device_file("*").name))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; where its process is killed, `bench doctor` finds it."""
    made = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=shared_folder())
    with made as name, _folder(Path(name)):
        yield Path(name)


def remove_scratch(path: Path) -> None:
    """Remove such a folder with all in it. Raises BlockingIOError where its process is alive."""
    with _folder(path):
        shutil.rmtree(path)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def holder(of: os.stat_result) -> str | None:
    """Who holds the lock on a file: `process 12 (python -m bench run)`; None if nobody seems to.

    Linux tells it, but not of a process that is in a container of its own.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and _is_file(words[5], of):
                return named(int(words[4]))
    return None


def is_held(path: Path) -> bool:
    """Whether anybody has the lock on a file, seen or not; it is tried for no longer than that."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def named(pid: int) -> str:
    """A process with its command, on one line: `process 12 (python -m bench run)`."""
    command = ""
    with contextlib.suppress(psutil.Error):
        command = " ".join(psutil.Process(pid).cmdline())
    if len(command) > COMMAND_SHOWN:
        command = f"{command[:COMMAND_SHOWN]}…"
    return f"process {pid} ({printable(command)})" if command else f"process {pid}"


def _is_file(text: str, of: os.stat_result) -> bool:
    """Whether `08:01:1234`, a device in hexadecimal and an inode, is that file."""
    major, minor, inode = text.split(":")
    device_number = os.makedev(int(major, 16), int(minor, 16))
    return int(inode) == of.st_ino and device_number == of.st_dev


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(path: Path) -> IO[bytes]:
    """A regular file that anybody may lock, made where there is none; never what a link names."""
    reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe of that name would block
    try:
        try:
            number = os.open(path, reading | os.O_CREAT | os.O_EXCL, ANYBODY_READS)
        except FileExistsError:
            number = os.open(path, reading)
        else:
            os.fchmod(number, ANYBODY_READS)  # whatever the umask
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise OSError(0, "it is no regular file")
    except OSError as error:
        raise UsageError(
            f"cannot lock {path}: {error.strerror}", "Remove it, or set TMPDIR to another folder."
        ) from error
    return os.fdopen(number, "rb")
