"""A fake of the package `jtop` (jetson-stats), which the child process of the sampler imports.

It has the names, exceptions and messages of the real package. The environment variable FAKE_JTOP
selects its behaviour: "good", or one of the failures below.
"""

import os
import time
from pathlib import Path

import psutil

import bench
from bench.devices.sensors import jtop_sampler
from support.paths import write_tree

START_S = 60.0  # far more than a start needs, also on a slow machine

PACKAGE = """
import os, queue, sys, threading, time

from bench.devices import clocks

print("Skip for setup.py")  # the real package prints this on stdout
BEHAVIOUR = os.environ["FAKE_JTOP"]
if BEHAVIOUR == "not installed":
    raise ModuleNotFoundError("No module named 'jtop'", name="jtop")
if BEHAVIOUR == "broken":
    raise ModuleNotFoundError("No module named 'smbus2'", name="smbus2")


class JtopException(Exception):
    def __init__(self, message, errors=""):
        super().__init__(message, errors)
        self.message = message

    def __str__(self):
        return str(self.message)


REFUSALS = {
    "absent": JtopException(
        "The jtop.service is not active. Please run:\\nsudo systemctl restart jtop.service"
    ),
    "mismatch": JtopException(
        "Mismatch version jtop service: [4.2.9] and client: [7.2.0]. Please run:\\n\\n"
        "sudo systemctl restart jtop.service"
    ),
    "forbidden": JtopException(
        "I can't access jtop.service.\\nPlease logout or reboot this board."
    ),
    "forbidden socket": PermissionError(13, "Permission denied"),
    "stranger": JtopException("Authentication with jetson-stats server failed"),
    "pythons": JtopException("Mismatch of Python versions between library and service"),
    "no greeting": queue.Empty(),
    "no data": JtopException("Error connection"),
    "unknown": KeyError("load"),
    "exits": SystemExit(3),
}
DEATHS = {
    "dies": JtopException("Lost connection with jtop server"),
    "breaks": BrokenPipeError(32, "Broken pipe"),
}


class jtop(threading.Thread):
    def __init__(self, interval=1.0):
        super().__init__(daemon=True)
        self._interval = interval
        self._observers = set()
        self._error = None
        self._running = False
        self._reads = 0

    def attach(self, observer):
        self._observers.add(observer)

    def start(self):
        if BEHAVIOUR == "silent":
            time.sleep(600)
        if BEHAVIOUR in REFUSALS:
            raise REFUSALS[BEHAVIOUR]
        self._read()
        self._running = True
        super().start()

    def _read(self):
        self._reads += 1
        self.gpu = {
            "gpu": {
                "type": "integrated",
                "status": {"load": min(self._reads, 100) / 2},
                "freq": {"governor": "nvhost_podgov", "cur": 1020000, "max": 1020000},
                "power_control": "auto",
            }
        }
        self.memory = {"EMC": {"cur": 2133000, "val": 3}}
        self.temperature = {"cpu": {"temp": 61.0}, "gpu": {"temp": 51.25, "online": True}}
        total = {"name": "VDD_IN", "power": 9250}
        self.power = {"rail": {"VDD_SOC": {"power": 2073}}, "tot": total}
        for observer in self._observers:
            observer(self)
        with open(f"{__file__}.reads", "a") as file:
            file.write(".")

    def run(self):
        while True:
            time.sleep(self._interval)
            if self._reads >= 3:
                if BEHAVIOUR == "goes silent":
                    now = clocks.monotonic
                    clocks.monotonic = lambda: now() + 3600  # an hour passes in this process
                    time.sleep(600)
                if BEHAVIOUR == "stops":
                    self._running = False
                    return
                if BEHAVIOUR in DEATHS:
                    self._error = DEATHS[BEHAVIOUR]
                    return
                if BEHAVIOUR == "crashes":
                    os._exit(1)
            self._read()

    def ok(self, spin=False):
        if self._error:
            raise self._error
        return self._running
"""


def install(monkeypatch, folder, behaviour):
    """Write the package to `folder`, make the child process import it, and set its behaviour."""
    write_tree(folder, {"jtop/__init__.py": PACKAGE})
    monkeypatch.syspath_prepend(folder)
    checkout = Path(bench.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(checkout)]))
    monkeypatch.setenv("FAKE_JTOP", behaviour)


def reads(folder):
    """Return how many samples the service of the package in `folder` has passed on so far."""
    return sum(len(path.read_text()) for path in folder.glob("jtop/*.reads"))


def utilisation(count):
    """Return the utilisation in the sample of this number."""
    return min(count, 100) / 200


def samplers():
    """Return the child processes that run the sampler, and all zombies."""
    found = []
    for child in psutil.Process().children(recursive=True):
        if child.status() == psutil.STATUS_ZOMBIE or jtop_sampler.__name__ in " ".join(
            child.cmdline()
        ):
            found.append(child)
    return found


def until(condition, seconds=START_S):
    """Wait until the condition is true; return False if it is not true within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False
