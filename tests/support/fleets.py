"""A fleet of processes on loopback: a scheduler, workers and a client, which tests may kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil

from bench.fleet import certificates
from bench.records import Measurement
from bench.storage import reader
from support.paths import ROOT
from support.sweep import heed_signals

CLIENT = ("--preset", "quick", "--rounds", "3", "--out", "out")
MARK = "BENCH_TEST_FLEET"


class Fleet:
    """Processes in a folder with certificates; each is started again by its name.

    `pythons` maps a name to the Python of its process, and `roots` to the folder with its bench;
    others have those of the tests.
    """

    def __init__(
        self,
        folder: Path,
        pythons: Mapping[str, Path] = MappingProxyType({}),
        roots: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self._pythons, self._roots = pythons, roots
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tls://127.0.0.1:{self.port}"
        self._running: dict[str, subprocess.Popen] = {}
        self._lengths: dict[str, int] = {}  # of what a process had said when it was started last
        certificates.make(folder / "certs")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self._running):
            self.kill(name)
        assert self._left() == [], "a process outlives its worker"

    def run(self, *words):
        """Run `bench fleet` with these words to its end."""
        return subprocess.run(
            self._command("", *words),
            cwd=self.folder,
            env=self._variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def scheduler(self):
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        self.start("scheduler", "scheduler", "--certs", "certs", *where)
        self.await_text("scheduler", f"scheduler: {self.address}")

    def workers(self, *names):
        """Start workers, and wait until they are connected."""
        for name in names:
            self.worker(name)
        for name in names:
            self.await_text(name, "connected")

    def worker(self, name, *words, certs="certs"):
        where = ("--scheduler", self.address, "--certs", certs, "--devices", "fake")
        self.start(name, "worker", *where, "--store", f"store-{name}", *words)

    def client(self, *words):
        self.start("client", *self.client_words(*words))

    def client_words(self, *words, devices="fake"):
        where = ("--scheduler", self.address, "--certs", "certs", "--devices", devices)
        return ("run", *where, *CLIENT, *words)

    def kill(self, name, number=signal.SIGKILL):
        """Send a signal to a process, and wait for its end; return its exit code."""
        process = self._running.pop(name)
        process.send_signal(number)
        return process.wait(30)

    def busiest(self, *names):
        """The worker among these that has written a record last; the first before any has."""
        stores = {
            name: self.folder.glob(f"store-{name}/*/fake/{reader.FILE_NAME}") for name in names
        }
        return max(
            names, key=lambda name: max((p.stat().st_mtime for p in stores[name]), default=0)
        )

    def ended(self, name):
        """The exit code of a process that has ended; None while it runs."""
        return self._running[name].poll()

    def wait(self, name, timeout_s=120):
        """Wait until a process ends; return its exit code and what it printed."""
        code = self._running[name].wait(timeout_s)
        return code, self.said(name)

    def said(self, name):
        """All that the processes of this name have printed."""
        return (self.folder / f"{name}.log").read_text()

    def await_text(self, name, text, timeout_s=60):
        """Wait until a process has printed a text since it was started last."""
        deadline = time.monotonic() + timeout_s
        while text not in (said := self.said(name)[self._lengths[name] :]):
            assert time.monotonic() < deadline, f"{name} did not say {text!r}: {said}"
            assert self.ended(name) is None or text in self.said(name), said
            time.sleep(0.05)

    def start(self, name, *words):
        with open(self.folder / f"{name}.log", "ab") as log:
            self._lengths[name] = log.tell()
            self._running[name] = subprocess.Popen(
                self._command(name, *words),
                cwd=self.folder,
                env=self._variables(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=heed_signals,
            )

    def _variables(self, name=""):
        root = str(self._roots.get(name, ROOT))
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, MARK: str(self.folder)}

    def _command(self, name, *words):
        return [self._pythons.get(name, sys.executable), "-m", "bench", "fleet", *words]

    def _left(self):
        """The processes of the fleet that live on; they have 15 s to end."""
        deadline = time.monotonic() + 15
        while (found := [each for each in psutil.process_iter() if self._is_of(each)]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
        return found

    def _is_of(self, process):
        try:
            return process.environ().get(MARK) == str(self.folder)
        except (psutil.Error, OSError):
            return False


def measured(folder: Path) -> list[Measurement]:
    """The measurements in a store of the fake device, in order."""
    found, skipped = reader.read(folder / "fake" / reader.FILE_NAME)
    assert skipped == []
    return [record for record in found if isinstance(record, Measurement)]


def by_round(records):
    """The samples of each round. Fails where a round is there twice."""
    found = {}
    for record in records:
        key = (record.case_id, record.generation, record.round)
        assert key not in found, f"{record.case.name} round {record.round} is there twice"
        found[key] = record.samples_s
    return found
