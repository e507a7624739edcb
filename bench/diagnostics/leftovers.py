"""Finds and removes leftovers of killed runs. Never touches what a running process uses."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.backends import artifacts
from bench.diagnostics.doctor import Finding
from bench.errors import UsageError
from bench.harness.scheduler import template
from bench.storage import lock
from bench.storage.reader import FILE_NAME, results_files, unfinished_line
from bench.storage.results import Store
from bench.text import GIB

FOLDERS = (Path("results"), Path("reports"))  # where commands write, and where reports are kept
MIN_AGE_S = 60.0  # a younger page or folder may still be in use
UNUSED_S = 3600.0  # a running `bench run` reads its exported networks more often
EXIT_S = 0.5  # orphans that end by themselves do so within this time
KILL_S = 5.0  # the time that a killed process may take to end


class Leftover(NamedTuple):
    """A leftover; `fix` removes or repairs it and returns a sentence that says how."""

    text: str
    fix: Callable[[], str]


def examine(out: Path | None, *, fix: bool) -> Iterator[Finding]:
    """Report who holds a lock, what cannot be read, and the leftovers below `out` and here.

    With `fix`, also remove or repair the leftovers. Without `out`, look into FOLDERS. Raises
    UsageError if `out` is not a folder.
    """
    folders = [out] if out else [folder for folder in FOLDERS if folder.is_dir()]
    remedy = "bench doctor --fix" + (f" --out {shlex.quote(str(out))}" if out else "")
    results = {folder: results_files(folder) for folder in folders}
    files = {folder: [*paths, *_of_selfchecks(folder)] for folder, (paths, _) in results.items()}
    for sentence in (each for _, unreadable in results.values() for each in unreadable):
        yield Finding("note", "results", sentence, "Make this readable, or move it away.")
    yield from _locks([path for paths in files.values() for path in paths])
    yield from _exported(fix=fix)
    found = [*_orphans(), *_scratch(), *_unfinished()]
    for folder, paths in files.items():
        found += _files(folder, paths)
    if not found:
        yield Finding("ok", "leftovers", "none")
    for leftover in found:
        if not fix:
            yield Finding("note", "leftover", leftover.text, remedy)
            continue
        try:
            yield Finding("ok", "fixed", leftover.fix())
        except (UsageError, OSError, psutil.Error) as error:
            yield Finding("note", "leftover", f"{leftover.text}: {error}")


def _of_selfchecks(folder: Path) -> list[Path]:
    """Return the files of `bench selfcheck` below a folder."""
    return sorted(folder.glob(f"*/selfcheck/*/{FILE_NAME}"))


def _locks(files: Sequence[Path]) -> Iterator[Finding]:
    """Report each held lock of a device or of a file of results."""
    held = [(path, _holder(path)) for path in (*lock.device_files(), *files)]
    busy = [f"{by} holds {path}" for path, by in held if by]
    for text in busy:
        yield Finding("note", "lock", text, "Wait until that process ends, then measure.")
    if not busy:
        yield Finding("ok", "locks", "no lock is held: no run is measuring")


def _holder(path: Path) -> str | None:
    """Return the process that holds the lock on `path`, as text; None if no process holds it."""
    try:
        by = lock.holder(path.stat())
        return by or ("a process in another container" if lock.is_held(path) else None)
    except OSError:
        return None


def _files(folder: Path, files: Sequence[Path]) -> Iterator[Leftover]:
    """Return incomplete last lines and unfinished pages, but only of results that no run writes."""
    idle = [path for path in files if not _holder(path)]
    for path in idle:
        try:
            line = unfinished_line(path)
        except OSError as error:
            yield Leftover(
                f"{path} cannot be read: {error.strerror}", partial(_fix_last_line, path)
            )
            continue
        if line:
            text = f"{path} ends in {len(line)} bytes that are not a complete line"
            yield Leftover(text, partial(_fix_last_line, path))
    patterns = [(folder, ".*.partial")] if files else []
    for path in idle:
        patterns += [(path.parent, ".*.partial"), (path.parent, "*/.*.partial")]
    for page in sorted({page for where, pattern in patterns for page in where.glob(pattern)}):
        if _is_old(page):
            yield Leftover(f"{page} is an unfinished page", partial(_remove, page))


def _fix_last_line(path: Path) -> str:
    """Open the store, which sets an incomplete last line aside or completes it."""
    results = Store(path.parent)
    with contextlib.closing(results):
        results.open()
    return (
        results.warnings[0] if results.warnings else f"{path} no longer ends in an incomplete line"
    )


def _remove(page: Path) -> str:
    page.unlink(missing_ok=True)
    return f"removed {page}"


def _scratch() -> Iterator[Leftover]:
    """Return scratch folders of this user whose process has ended."""
    for path in sorted(lock.shared_folder().glob(f"{lock.SCRATCH}*")):
        with contextlib.suppress(FileNotFoundError):  # its process has just removed it
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
        if _is_old(path) and not _holder(path):
            yield Leftover(f"{path} belongs to a process that has ended", partial(_clear, path))


def _exported(*, fix: bool) -> Iterator[Finding]:
    """Report the size of the folder of exported networks; with `fix`, remove the unused ones."""
    if fix and (unused := [path for path in artifacts.files() if _is_old(path, UNUSED_S)]):
        freed = artifacts.size_of(unused) / GIB
        for path in unused:
            _remove(path)
        yield Finding("ok", "fixed", f"removed {len(unused)} exported networks, {freed:.1f} GiB")
    if paths := artifacts.files():
        size, most = (each / GIB for each in (artifacts.size_of(paths), artifacts.MOST_BYTES))
        text = f"{size:.1f} of at most {most:.0f} GiB; `bench doctor --fix` removes unused ones"
        yield Finding("ok", "exported networks", text)


def _unfinished() -> Iterator[Leftover]:
    """Return exported networks that a killed process has not completed."""
    for path in artifacts.unfinished(time.time() - MIN_AGE_S):
        yield Leftover(f"{path} is an unfinished export", partial(_remove, path))


def _clear(path: Path) -> str:
    lock.remove_scratch(path)
    return f"removed {path}"


def _is_old(path: Path, age_s: float = MIN_AGE_S) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > age_s
    return False


def _orphans() -> Iterator[Leftover]:
    """Return processes of this user whose run has ended.

    Most processes end shortly after their run; those that end within EXIT_S are not reported.
    """
    orphans = [process for process in template.marked_processes() if _is_orphan(process)]
    psutil.wait_procs(orphans, EXIT_S)
    for process in template.marked_processes() if orphans else ():
        if process in orphans:
            text = f"{lock.describe_process(process.pid)} was started by a run that has ended"
            yield Leftover(text, partial(_end, process))


def _is_orphan(process: psutil.Process) -> bool:
    """Return whether the mark of `process` names a run that has ended.

    Returns False for a process in another container: process ids there mean other processes.
    """
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        spaces = [os.stat(f"/proc/{each}/ns/pid") for each in ("self", process.pid)]
        if process.uids().real != os.getuid() or not os.path.samestat(*spaces):
            return False
        run = int(process.environ()[template.MARK].partition("-")[0])
        if not psutil.pid_exists(run):
            return True
        other = psutil.Process(run)
        is_dead = (
            other.status() == psutil.STATUS_ZOMBIE
        )  # ended, but its parent has not waited for it
        return is_dead or other.create_time() > process.create_time()
    return False


def _end(process: psutil.Process) -> str:
    process.kill()
    process.wait(KILL_S)
    return f"killed process {process.pid}"
