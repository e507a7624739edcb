"""What runs that were killed have left behind, and doing away with it: never what is in use."""

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

from bench.diagnostics.doctor import Finding
from bench.errors import UsageError
from bench.harness.scheduler import template
from bench.storage import lock
from bench.storage.reader import FILE_NAME, files_below, unfinished
from bench.storage.results import Store

FOLDERS = (Path("reports"), Path("results"))  # what `bench run` and `nox -s bench_cpu` write to
OLD_S = 60.0  # nobody writes a page for so long, or has just made a folder
DYING_S = 0.5
DIES_S = 5.0


class Leftover(NamedTuple):
    """Something left behind; `mend` does away with it and says how."""

    text: str
    mend: Callable[[], str]


def examine(out: Path | None, *, fix: bool) -> Iterator[Finding]:
    """Who is measuring now, and what is left over below `out` and elsewhere; mended with `fix`.

    Without `out` that is the usual folders. Raises UsageError where it is no folder.
    """
    folders = [out] if out else [folder for folder in FOLDERS if folder.is_dir()]
    remedy = "bench doctor --fix" + (f" --out {shlex.quote(str(out))}" if out else "")
    files = {folder: _results(folder) for folder in folders}
    yield from _at_work([path for paths in files.values() for path in paths])
    found = [*_orphans(), *_scratch()]
    for folder, paths in files.items():
        found += _in(folder, paths)
    if not found:
        yield Finding("ok", "leftovers", "none")
    for leftover in found:
        if not fix:
            yield Finding("note", "leftover", leftover.text, remedy)
            continue
        try:
            yield Finding("ok", "mended", leftover.mend())
        except (UsageError, OSError, psutil.Error) as error:
            yield Finding("note", "leftover", f"{leftover.text}: {error}")


def _results(folder: Path) -> list[Path]:
    return [*files_below(folder), *sorted(folder.glob(f"*/selfcheck/*/{FILE_NAME}"))]


def _at_work(files: Sequence[Path]) -> Iterator[Finding]:
    held = [(path, _holder(path)) for path in (*lock.device_files(), *files)]
    busy = [f"{by} holds {path}" for path, by in held if by]
    for text in busy:
        yield Finding("note", "lock", text, "Wait for it before you measure.")
    if not busy:
        yield Finding("ok", "locks", "none is held: nobody is measuring")


def _holder(path: Path) -> str | None:
    try:
        by = lock.holder(path.stat())
        return by or ("a process in another container" if lock.is_held(path) else None)
    except OSError:
        return None


def _in(folder: Path, files: Sequence[Path]) -> Iterator[Leftover]:
    """Beside results that nobody is writing to: torn lines, and pages that were never finished."""
    idle = [path for path in files if not _holder(path)]
    for path in idle:
        try:
            line = unfinished(path)
        except OSError as error:
            yield Leftover(
                f"{path} cannot be read: {error.strerror}", partial(_mend_last_line, path)
            )
            continue
        if line:
            text = f"{path} ends in {len(line)} bytes that are no whole line"
            yield Leftover(text, partial(_mend_last_line, path))
    patterns = [(folder, ".*.partial")] if files else []
    for path in idle:
        patterns += [(path.parent, ".*.partial"), (path.parent, "*/.*.partial")]
    for page in sorted({page for where, pattern in patterns for page in where.glob(pattern)}):
        if _is_old(page):
            yield Leftover(f"{page} was never finished", partial(_remove, page))


def _mend_last_line(path: Path) -> str:
    """Opening it does that."""
    results = Store(path.parent)
    with contextlib.closing(results):
        results.open()
    return results.warnings[0] if results.warnings else f"{path} is whole by now"


def _remove(page: Path) -> str:
    page.unlink(missing_ok=True)
    return f"{page} is removed"


def _scratch() -> Iterator[Leftover]:
    """Folders of this user's in the temporary one, whose process is gone."""
    for path in sorted(lock.shared_folder().glob(f"{lock.SCRATCH}*")):
        with contextlib.suppress(FileNotFoundError):  # its process has just ended
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
        if _is_old(path) and not _holder(path):
            yield Leftover(f"{path} is of a process that is gone", partial(_clear, path))


def _clear(path: Path) -> str:
    lock.remove_scratch(path)
    return f"{path} is removed"


def _is_old(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > OLD_S
    return False


def _orphans() -> Iterator[Leftover]:
    """Processes of this user's that a run has started, and which it has not outlived.

    Most of them die with it, within moments.
    """
    dying = [process for process in template.marked() if _is_orphan(process)]
    psutil.wait_procs(dying, DYING_S)
    for process in template.marked() if dying else ():
        if process in dying:
            text = f"{lock.named(process.pid)} was started by a run that is gone"
            yield Leftover(text, partial(_end, process))


def _is_orphan(process: psutil.Process) -> bool:
    """Whether its mark names a run that is gone.

    In another container the number means another process, so what is in one is left alone.
    """
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        spaces = [os.stat(f"/proc/{each}/ns/pid") for each in ("self", process.pid)]
        if process.uids().real != os.getuid() or not os.path.samestat(*spaces):
            return False
        run = int(process.environ()[template.MARK].partition("-")[0])
        if not psutil.pid_exists(run):
            return True
        other = psutil.Process(run)
        is_dead = other.status() == psutil.STATUS_ZOMBIE  # and nobody has waited for it yet
        return is_dead or other.create_time() > process.create_time()
    return False


def _end(process: psutil.Process) -> str:
    process.kill()
    process.wait(DIES_S)
    return f"process {process.pid} is killed"
