"""A run that is started as a process in a folder of its own, and what it leaves there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

SUITE = """
models = ["resnet50", "swin_t", "convnext_t", "deit_s"]
batch = [128]
rounds = 3
pace_s = 0.01
"""
MARK = "BENCH_TEST_SWEEP"


class Sweep:
    """`bench run` with `arguments`; by default, a run of about 1.5 s on the fake device.

    All its processes have the variable MARK in their environment. `program` are the arguments of
    Python that start bench.
    """

    def __init__(
        self, folder: Path, *arguments: str, program: Sequence[str] = ("-m", "bench")
    ) -> None:
        self.folder = folder
        self.program = program
        (folder / "tmp").mkdir(parents=True)
        (folder / "own.toml").write_text(SUITE)
        self.arguments = ["run", *(arguments or ("--suite", "own.toml", "--device", "fake"))]
        self.arguments += ["--out", "out"]

    @property
    def path(self) -> Path:
        return next(self.folder.glob("out/*/results.jsonl"), self.folder / "out/fake/results.jsonl")

    def start(self, **options) -> subprocess.Popen:
        """Start or resume the run; its output goes to the file `said`."""
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, *self.program, *self.arguments],
                cwd=self.folder,
                env={**os.environ, MARK: str(self.folder), "TMPDIR": str(self.folder / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                **options,
            )

    def finish(self, timeout_s: float = 300.0) -> int:
        """Start the run and wait until it ends; return the exit code."""
        return self.start().wait(timeout_s)

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def data(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    def rounds(self) -> list[dict]:
        records = map(json.loads, self.data().splitlines())
        return [record for record in records if record["type"] == "measurement"]

    def ends(self) -> list[tuple]:
        return [(r["case_id"], r["round"], r["stopped_by"]) for r in self.rounds()]

    def wait_for_rounds(self, count: int, run: subprocess.Popen) -> None:
        """Wait until `count` rounds are on the disk; assert that the run has not ended."""
        wait_until(lambda: run.poll() is not None or self.data().count(b'"measurement"') >= count)
        assert run.poll() is None, self.said()

    def processes(self) -> list[psutil.Process]:
        """Return the living processes with this run's mark, whatever their parent is."""
        return [process for process in psutil.process_iter() if self._is_of(process)]

    def assert_nothing_runs(self) -> None:
        """Assert that no process of the run is left after at most 5 s."""
        wait_until(lambda: not self.processes(), 5.0)

    def _is_of(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == str(self.folder)
        except (psutil.Error, OSError):
            return False


def heed_signals() -> None:
    """Restore the default handlers: the tests may run under nohup, which ignores SIGHUP."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def wait_until(condition, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
