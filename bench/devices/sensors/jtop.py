"""Read a Jetson board through jtop (jetson-stats), for levels that sysfs lacks.

A child process imports jtop and answers requests (`jtop_sampler`); this process never imports jtop.
The reasons: importing jtop forces the start method of multiprocessing, prints to stdout, and jtop
is under the AGPL.
"""

from __future__ import annotations

import contextlib
import select
import subprocess
from typing import Any

import msgspec

from bench.devices import clocks
from bench.devices.sensors import jtop_sampler
from bench.devices.sensors.jtop_reading import SILENT
from bench.devices.sensors.sensor import LEVELS, MissingSensor
from bench.process import command_for_module
from bench.records import Gauges

DEADLINE_S = 5.0  # for one answer
INTERVAL_S = 0.1  # interval of jtop's samples
CLOSE_S = 0.5  # for the child to end by itself
MAX_READ_BYTES = 65536

DIED = "jtop's process died"


class JtopSensor:
    """A `Sensor` that asks jtop. Its child process starts at the first request.

    If the service fails, or does not answer within `deadline_s` seconds, the sensor gives up: all
    later levels are None with the same reason. jtop samples every `interval_s` seconds.
    """

    def __init__(self, deadline_s: float = DEADLINE_S, interval_s: float = INTERVAL_S) -> None:
        self._deadline_s = deadline_s
        self._interval_s = interval_s
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up: Gauges | None = None

    def gauges(self) -> Gauges:
        """Return the newest levels. The first call waits for the service; others take 1 ms."""
        if self._given_up is None:
            try:
                newest = self._ask()
            except BrokenPipeError:
                newest = MissingSensor(DIED).gauges()
            except (OSError, msgspec.MsgspecError) as error:
                newest = MissingSensor(f"jtop's process failed: {error}").gauges()
            if all(getattr(newest, name) is None for name in LEVELS):
                self._end()
                self._given_up = newest
            return newest
        return self._given_up

    def energy_j(self) -> float | None:
        """Return None: jtop has no energy counter, only average power."""
        return None

    def close(self) -> None:
        """End the child process, within a second."""
        self._end()
        self._given_up = self._given_up or MissingSensor("the sensor is closed").gauges()

    def _ask(self) -> Gauges:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"?")
        line = b""
        until = clocks.monotonic() + self._deadline_s
        while not line.endswith(b"\n"):
            left = max(until - clocks.monotonic(), 0.0)
            if not select.select([process.stdout], [], [], left)[0]:
                return MissingSensor(f"{SILENT}: no answer within {self._deadline_s:g} s").gauges()
            part = process.stdout.read(MAX_READ_BYTES)
            if not part:
                return MissingSensor(DIED).gauges()
            line += part
        return msgspec.json.decode(line, type=Gauges)

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = [f"{self._interval_s:g}", f"{self._deadline_s:g}"]
        return subprocess.Popen(
            command_for_module(jtop_sampler.__name__, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C then signals only the parent, which closes it
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes both pipes and waits for the process
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def combined(board: Gauges, jtop: Gauges) -> Gauges:
    """Return the levels of `board` (sysfs), with the levels of `jtop` where `board` lacks them.

    If both lack a level, `missing` has both reasons.
    """
    levels: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in LEVELS:
        own, other = getattr(board, name), getattr(jtop, name)
        levels[name] = other if own is None else own
        if levels[name] is None:
            reasons = {"sysfs": board.missing.get(name), "jtop": jtop.missing.get(name)}
            missing[name] = "; ".join(f"{who}: {why or 'not told'}" for who, why in reasons.items())
    return Gauges(**levels, missing=missing)
