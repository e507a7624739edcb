"""A fleet of processes on loopback: a scheduler, workers and a client, which tests may kill."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.records import Measurement
from bench.storage import reader

CLIENT = ("--preset", "quick", "--rounds", "3", "--out", "out")


class Fleet:
    """Processes in a folder with certificates; each is started again by its name."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self._python = python
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tls://127.0.0.1:{self.port}"
        self._running: dict[str, subprocess.Popen] = {}
        self.run("certs", "certs").check_returncode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self._running):
            self.kill(name)

    def run(self, *words, python=None):
        """Run `bench fleet` with these words to its end."""
        return subprocess.run(
            self._command(*words, python=python),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def scheduler(self):
        self._start("scheduler", "scheduler", "--certs", "certs", "--host", "127.0.0.1",
                    "--port", str(self.port))  # fmt: skip

    def worker(self, name, devices="fake", *words, python=None, store=None):
        where = ("--scheduler", self.address, "--certs", "certs", "--devices", devices)
        own = ("--store", store or name)
        self._start(name, "worker", *where, *own, *words, python=python)

    def client(self, *words):
        self._start("client", *self.client_words(*words))

    def client_words(self, *words, devices="fake"):
        where = ("--scheduler", self.address, "--certs", "certs", "--devices", devices)
        return ("run", *where, *CLIENT, *words)

    def kill(self, name, number=signal.SIGKILL):
        """Kill a process, and wait for its end."""
        process = self._running.pop(name)
        process.send_signal(number)
        process.wait(30)

    def ended(self, name):
        """The exit code of a process that has ended; None while it runs."""
        return self._running[name].poll()

    def wait(self, name, timeout_s=120):
        """Wait until a process ends; return its exit code and what it printed."""
        code = self._running[name].wait(timeout_s)
        return code, self.said(name)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def await_text(self, name, text, timeout_s=60):
        """Wait until a process has printed a text."""
        deadline = time.monotonic() + timeout_s
        while text not in self.said(name):
            assert time.monotonic() < deadline, f"{name} did not say {text!r}: {self.said(name)}"
            assert self._running[name].poll() is None or text in self.said(name), self.said(name)
            time.sleep(0.05)

    def _start(self, name, *words, python=None):
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                self._command(*words, python=python),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _command(self, *words, python=None):
        return [python or self._python, "-m", "bench", "fleet", *words]


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
