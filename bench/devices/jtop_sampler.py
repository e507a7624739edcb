"""jtop, where the board's own files do not tell: a process beside ours that imports jetson-stats.

Importing jtop forces the start method of multiprocessing, prints, and is under the AGPL: so it is
imported only in a process of its own, `python -m bench.devices.jtop_sampler BETWEEN SILENCE`.
That follows jtop, and for each byte on its stdin it answers with one line: the newest Gauges as
JSON, or Gauges of nothing but reasons. It ends with its stdin or its parent. It is asked and does
not tell by itself, so that no thread of ours wakes in a timed block and no answer is stale.

Facts about jtop are of jetson-stats 4.2 to 7.2, which share one layout.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import select
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec

from bench.devices import tegra
from bench.devices.sensor import Blind
from bench.process import command_for_module
from bench.records import Gauges

DEADLINE_S = 5.0
BETWEEN_S = 0.1
CLOSE_S = 0.5
LOOK_FOR_PARENT_S = 0.5
LEVELS = [name for name in Gauges.__struct_fields__ if name != "missing"]

NOT_INSTALLED = "jtop is not installed: pip install 'bench[orin]'"
NOT_RUNNING = "jtop.service is not running: sudo systemctl restart jtop.service"
NOT_ALLOWED = "jtop.service lets only its group in: sudo usermod -aG jtop $USER, then log in again"
LOST = "jtop.service ended or dropped the connection"
SILENT = "jtop.service is silent"
DIED = "jtop's process died"
# NVML knows next to nothing of an Orin's GPU, and jtop shows zeros in its place.
OF_NVML = "jtop took NVML for the GPU's files, at boot: sudo systemctl restart jtop.service"

# What a failing client says, and what that means; the first that is found counts. Both versions
# follow the first word of the mismatch in brackets.
MEANINGS = [
    ("not active", NOT_RUNNING),
    ("can't access", NOT_ALLOWED),
    ("Permission denied", NOT_ALLOWED),
    ("Authentication", "jtop's service and client differ: install the same jetson-stats for both"),
    ("Python versions", "jtop's service and client run on Pythons that differ too much"),
    ("Lost connection", LOST),
    ("Error connection", SILENT),
]
MISMATCH = re.compile(r"service: \[([^\]]*)\] and client: \[([^\]]*)\]")


class JtopSensor:
    """A Sensor that asks jtop; its process starts with the first question. Nothing here raises.

    A service that does not answer within `deadline_s` is given up, and so is one that failed:
    from then on every level is None and has the same reason. Samples are `between_s` apart.
    """

    def __init__(self, deadline_s: float = DEADLINE_S, between_s: float = BETWEEN_S) -> None:
        self._deadline_s = deadline_s
        self._between_s = between_s
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up: Gauges | None = None

    def gauges(self) -> Gauges:
        """The newest levels; waits for the first, and after that about a millisecond."""
        if self._given_up is None:
            try:
                newest = self._ask()
            except BrokenPipeError:
                newest = nothing(DIED)
            except (OSError, msgspec.MsgspecError) as error:
                newest = nothing(f"jtop's process failed: {error}")
            if all(getattr(newest, name) is None for name in LEVELS):
                self._end()
                self._given_up = newest
            return newest
        return self._given_up

    def energy_j(self) -> float | None:
        """None: jtop averages power, and counts no energy."""
        return None

    def close(self) -> None:
        """End the process, within a second."""
        self._end()
        self._given_up = self._given_up or nothing("the sensor is closed")

    def _ask(self) -> Gauges:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"?")
        line = b""
        until = time.monotonic() + self._deadline_s
        while not line.endswith(b"\n"):
            left = max(until - time.monotonic(), 0.0)
            if not select.select([process.stdout], [], [], left)[0]:
                return nothing(f"{SILENT}: no answer within {self._deadline_s:g} s")
            part = process.stdout.read(65536)
            if not part:
                return nothing(DIED)
            line += part
        return msgspec.json.decode(line, type=Gauges)

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = [f"{self._between_s:g}", f"{self._deadline_s:g}"]
        return subprocess.Popen(
            command_for_module(__name__, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us, who then close it
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # which closes both pipes and reaps
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def combined(board: Gauges, jtop: Gauges) -> Gauges:
    """Each level from the board's files where they have it, else jtop's; reasons of both."""
    levels: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in LEVELS:
        own, other = getattr(board, name), getattr(jtop, name)
        levels[name] = other if own is None else own
        if levels[name] is None:
            reasons = {"sysfs": board.missing.get(name), "jtop": jtop.missing.get(name)}
            missing[name] = "; ".join(f"{who}: {why or 'not told'}" for who, why in reasons.items())
    return Gauges(**levels, missing=missing)


def nothing(why: str) -> Gauges:
    """No level, for one reason."""
    return Blind(why).gauges()


# --- the process that imports jtop ----------------------------------------------------------


class Newest:
    """What jtop told last, handed from the thread that follows it to the one that answers."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._changed = threading.Condition()
        self._gauges: Gauges | None = None
        self._at_s = 0.0
        self._failed = False

    def put(self, gauges: Gauges, failed: bool = False) -> None:
        """Keep `gauges`; after a failure nothing else."""
        with self._changed:
            if self._failed:
                return
            self._gauges, self._at_s, self._failed = gauges, time.monotonic(), failed
            self._changed.notify_all()

    def get(self) -> Gauges:
        """Wait for the first, as long as the parent does; an old one is a silence."""
        with self._changed:
            self._changed.wait_for(lambda: self._gauges is not None, self._silence_s)
            if self._gauges is None:
                return nothing(SILENT)
            age = time.monotonic() - self._at_s
            if age > self._silence_s and not self._failed:
                return nothing(f"{SILENT}: nothing new for {age:.1f} s")
            return self._gauges


def main() -> None:
    """Answer in a thread, and follow jtop here: it may want the main thread."""
    between_s, silence_s = map(float, sys.argv[1:])
    answers = os.dup(1)
    os.dup2(2, 1)  # jtop prints
    newest = Newest(silence_s)
    threading.Thread(target=_answer, args=(answers, newest, os.getppid()), daemon=True).start()
    try:
        _follow(between_s, newest)
    except BaseException as error:
        newest.put(nothing(reason_of(error)), failed=True)
    threading.Event().wait()  # until `_answer` ends the process


def _answer(answers: int, newest: Newest, parent: int) -> None:
    """One line for each byte on stdin; with its end, or the parent's, the process ends."""
    with contextlib.suppress(OSError):
        while _asked(parent):
            os.write(answers, msgspec.json.encode(newest.get()) + b"\n")
    os._exit(0)  # at once: the client's own threads may hang in a connection


def _asked(parent: int) -> bool:
    """Wait for a question; False when nobody can ask any more.

    Something forked from a killed parent may hold the pipe open, so we look who ours is too.
    """
    while not select.select([0], [], [], LOOK_FOR_PARENT_S)[0]:
        if os.getppid() != parent:
            return False
    return bool(os.read(0, 1))


def _follow(between_s: float, newest: Newest) -> None:
    """Raises what the client raises, and ConnectionError where it just stops."""
    jtop: Any = importlib.import_module("jtop")
    client = jtop.jtop(interval=between_s)
    client.attach(lambda client: newest.put(gauges_of(client)))  # called with each new reading
    client.start()
    while client.ok(spin=True):  # raises what the client's own thread met
        time.sleep(between_s)
    raise ConnectionError


def reason_of(error: BaseException) -> str:
    """What a user can do about an exception of jtop's client."""
    if isinstance(error, ModuleNotFoundError) and error.name == "jtop":
        return NOT_INSTALLED
    if type(error).__name__ == "Empty":  # of its queue: nobody answered the greeting
        return SILENT
    said = str(error)
    if versions := MISMATCH.search(said):
        service, client = versions.groups()
        return (
            f"jtop's service is {service} and its client {client}: install the same "
            f"jetson-stats for both, then sudo systemctl restart jtop.service"
        )
    for words, meaning in MEANINGS:
        if words in said:
            return meaning
    if isinstance(error, (EOFError, ConnectionError)):
        return LOST
    return f"jtop failed: {type(error).__name__}: {said}".rstrip(": ")


def gauges_of(client: Any) -> Gauges:
    """A reading of jtop, which has per cent, kHz, °C and mW, in the units of Gauges."""
    levels: dict[str, Any] = {}
    missing = dict.fromkeys(LEVELS, "jtop does not tell")
    gpu: Any = next(iter(client.gpu.values()), {})
    by_nvml = "nvml" in (_at(gpu, "power_control"), _at(gpu, "freq", "governor"))
    if by_nvml:
        missing |= dict.fromkeys(["utilisation", "clock_hz"], OF_NVML)
    else:
        levels["utilisation"] = _scaled(_at(gpu, "status", "load"), 1e-2, 0, 100)
        levels["clock_hz"] = _scaled(_at(gpu, "freq", "cur"), 1e3, 1)
    levels["memory_clock_hz"] = _scaled(_at(client.memory, "EMC", "cur"), 1e3, 2)  # 1: unread
    temperatures = {name.lower(): zone for name, zone in client.temperature.items()}
    levels["temperature_c"] = _scaled(_at(temperatures, "gpu", "temp"), 1, -50, 150)
    try:
        levels["power_w"] = _power_w(client.power)
    except tegra.UnreadableError as why:
        missing["power_w"] = f"jtop has {why}"
    told = {name: level for name, level in levels.items() if level is not None}
    return Gauges(**told, missing={n: why for n, why in missing.items() if n not in told})


def _power_w(power: Any) -> float | None:
    """Of the whole module. jtop takes VDD_IN out of its rails to call it the total."""
    rails = {name: _at(rail, "power") for name, rail in (_at(power, "rail") or {}).items()}
    if total := _at(power, "tot", "name"):
        rails[total] = _at(power, "tot", "power")
    watts = [_scaled(rails[name], 1e-3, -100) for name in tegra.total_of(rails)]
    known = [value for value in watts if value is not None]
    return sum(known) if len(known) == len(watts) else None


def _at(tree: Any, *keys: str) -> Any:
    """What is in a tree of mappings, or jtop's likes of them; None where there is nothing."""
    for key in keys:
        if not hasattr(tree, "get"):
            return None
        tree = tree.get(key)
    return tree


def _scaled(value: Any, unit: float, low: float, high: float = 1e12) -> float | None:
    """A number from low to high in another unit; None for what is none."""
    if isinstance(value, (int, float)) and low <= value <= high:
        return value * unit
    return None


if __name__ == "__main__":
    main()
