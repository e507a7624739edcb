"""Examines what works on this machine and whether it is fit to measure on; imports no torch."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata, util
from typing import Literal, NamedTuple

import psutil

import bench
from bench.backends import BACKENDS, about
from bench.devices import DEVICES, Driver, allocators, huge_pages, torch_device_here
from bench.devices.allocators import ALLOCATORS
from bench.devices.host import Host, affinity, cgroup_quota, load
from bench.devices.installation import how_to_install
from bench.devices.sensors.tegra import Board
from bench.errors import UnavailableError, starting
from bench.process import command_for_code
from bench.records import DEFAULT, Case, Chip
from bench.text import GIB, facts

BUSY_PERCENT = 20.0  # a process that uses more of one CPU is reported
SAMPLE_S = 0.5  # over which the CPU use of processes is measured
MIN_FREE_GIB = 4.0
NO_PROC = "cannot be read: this system has no /proc"
REQUIRED_PACKAGES = ("torch", "torchvision", "timm")
# On a Jetson, the packages come from several places. Each is tried in a process of its own, because
# a package that was built for another torch may end the process.
TRIED_IMPORTS = {
    "torch": "import torch",
    "numpy": "import torch; torch.zeros(1).numpy()",
    "torchvision": "import torchvision",
    "timm": "import timm",
}
SHARE_THE_GPU = "sudo nvidia-smi -c DEFAULT"  # the compute mode
FOR_OLDER_TORCH = "numpy<2"
USUAL_PRECISION = Case("", "").precision

Level = Literal["ok", "note", "lack"]


class Finding(NamedTuple):
    """A finding about the machine.

    Level `note`: it may make measurements unreliable. Level `lack`: something does not work.
    """

    level: Level
    about: str
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return the findings about software, devices, backends and the state of the machine."""
    return [*_software(), *_devices(), *_backends(), *_fitness()]


def _software() -> Iterator[Finding]:
    version = platform.python_version()
    where = "in an environment" if sys.prefix != sys.base_prefix else "outside any environment"
    yield Finding("ok", "bench", f"{bench.__version__} on Python {version}, {where}")
    for package in REQUIRED_PACKAGES:
        try:
            yield Finding("ok", package, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding("lack", package, "not installed", how_to_install(package))
    if Board().is_jetson():
        yield from _imports()


def _imports() -> Iterator[Finding]:
    """Return the packages that cannot be imported, as one that was built for another torch.

    Without torch, the other imports tell nothing new: each of them needs it.
    """
    for package, code in TRIED_IMPORTS.items():
        command = command_for_code(code)
        with starting(f"a process that imports {package}"):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last_line = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
            remedy = how_to_install(package)
            if package == "numpy":
                remedy = f"This torch was built on NumPy 1: {how_to_install(FOR_OLDER_TORCH)}"
            yield Finding("lack", f"import {package}", last_line, remedy)
            if package == "torch":
                return


def _devices() -> Iterator[Finding]:
    for name, driver in DEVICES.items():
        try:
            chip = driver.identify()
        except UnavailableError as error:
            yield Finding("lack", f"device {name}", error.message, error.remedy)
        else:
            known = facts(chip.facts)
            yield Finding("ok", f"device {name}", f"{chip.name}: {known}" if known else chip.name)
            if driver.runs_torch and driver.has_queue:
                yield _proof(driver, chip)
                if lack := driver.missing_precision(USUAL_PRECISION, chip):
                    yield Finding("lack", f"{USUAL_PRECISION} on {name}", lack)
                yield from _gpu_fitness(driver)


def _proof(driver: Driver, chip: Chip) -> Finding:
    about = f"torch on {driver.name}"
    try:
        driver.prove(chip)
    except UnavailableError as error:
        return Finding("lack", about, error.message, error.remedy)
    return Finding("ok", about, "each kind of operator gives the same result as on the CPU")


def _gpu_fitness(driver: Driver) -> Iterator[Finding]:
    state = driver.state()
    known = facts({name: value for name, value in state.items() if name != "foreign_processes"})
    yield Finding("ok", f"state of {driver.name}", known or "cannot be read")
    others = state.get("foreign_processes")
    if others:
        text = f"{others} of other programs"
        remedy = "Stop them while you measure; `nvidia-smi` lists them."
        yield Finding("note", "GPU processes", text, remedy)
    if state.get("compute_mode") in ("exclusive_thread", "exclusive_process"):
        text = "exclusive: the GPU serves one process at a time, so cases take no turns"
        yield Finding("note", "compute mode", text, SHARE_THE_GPU)
    if state.get("compute_mode") == "prohibited":
        yield Finding("lack", "compute mode", "prohibited", SHARE_THE_GPU)
    if state.get("persistence") == "off":
        text = "off: the first call after a pause starts the driver"
        yield Finding("note", "persistence mode", text, "sudo nvidia-smi -pm 1")
    if state.get("jetson_clocks") == "off":
        remedy = "Choose the power mode with nvpmodel, then run: sudo jetson_clocks"
        yield Finding("note", "jetson_clocks", "off: the clocks change with the load", remedy)


def _backends() -> Iterator[Finding]:
    torch_device = torch_device_here()
    for name, backend in BACKENDS.items():
        if util.find_spec("torch") is None:
            yield Finding("lack", f"backend {name}", "needs torch", how_to_install("torch"))
        elif lack := backend.missing(torch_device):
            yield Finding("lack", f"backend {name}", lack)
        else:
            yield Finding("ok", f"backend {name}", about(backend))


def _fitness() -> Iterator[Finding]:
    """Return findings about what makes measurements vary: quota, load, power and memory."""
    cpus = affinity()
    yield from _limits(cpus)
    yield from _load(cpus)
    yield from _power()
    yield from _allocation()
    free_bytes = Host().free_bytes()
    if free_bytes is None:
        yield Finding("note", "memory", NO_PROC)
        return
    free_gib = free_bytes / GIB
    if free_gib < MIN_FREE_GIB:
        remedy = "Batch 128 may not fit. Close programs, or use --batch 1."
        yield Finding("note", "memory", f"{free_gib:.1f} GiB free", remedy)
    else:
        yield Finding("ok", "memory", f"{free_gib:.1f} GiB free")


def _limits(cpus: int) -> Iterator[Finding]:
    quota = cgroup_quota()
    if quota is not None and quota < cpus:
        text = f"{quota:g} CPUs by cgroup quota, {cpus} by affinity"
        remedy = "A quota stops all threads for a while. Remove it, or pin whole CPUs instead."
        yield Finding("note", "quota", text, remedy)
    else:
        limit = "none" if quota is None else f"{quota:g} CPUs, enough for all"
        yield Finding("ok", "quota", f"{limit}; {cpus} CPUs by affinity")


def _allocation() -> Iterator[Finding]:
    """Return the allocators that are here, and what the shell puts in the place of the default."""
    lacking = [name for name in ALLOCATORS if allocators.missing(name)]
    here = ", ".join(name for name in ALLOCATORS if name not in lacking)
    wanted = [
        f"{name} ({ALLOCATORS[name].package})" for name in lacking if ALLOCATORS[name].package
    ]
    absent = f"; not installed: {', '.join(wanted)}" if wanted else ""
    advice = "only a measurement tells which is faster here: bench run --allocator default,arena"
    yield Finding("ok", "allocators", f"{here}{absent}; {advice}")
    if brought := allocators.brought(DEFAULT):
        yield Finding("note", "malloc", *brought)
    mode = huge_pages.mode()
    yield Finding("ok", "huge pages", f"the kernel's mode is {mode}" if mode else "none")


def _load(cpus: int) -> Iterator[Finding]:
    try:
        busy = _busy_processes()
    except (OSError, IndexError):  # psutil takes the lowest number in /proc
        yield Finding("note", "other processes", NO_PROC)
    else:
        yield _busy(busy)
    average = load()
    if average is None:
        yield Finding("note", "load", NO_PROC)
        return
    level: Level = "note" if average > 0.5 * cpus else "ok"
    remedy = "Wait until the load falls. Ignore it if your own measurement has just ended."
    yield Finding(level, "load", f"{average:.1f} on {cpus} CPUs", remedy if level == "note" else "")


def _busy(busy: list[str]) -> Finding:
    if busy:
        remedy = "Stop them while you measure."
        return Finding("note", "other processes", ", ".join(busy), remedy)
    return Finding("ok", "other processes", "no other process is busy")


def _busy_processes() -> list[str]:
    """Return the three busiest other processes above BUSY_PERCENT, as `name (93 %)`."""
    mine = os.getpid()
    others = [process for process in psutil.process_iter(["name"]) if process.pid != mine]
    for process in others:
        _percent(process)
    time.sleep(SAMPLE_S)
    used = [(_percent(process), process.info["name"]) for process in others]
    top = sorted((entry for entry in used if entry[0] > BUSY_PERCENT), reverse=True)[:3]
    return [f"{name} ({percent:.0f} %)" for percent, name in top]


def _percent(process: psutil.Process) -> float:
    try:
        return float(process.cpu_percent())
    except psutil.Error:
        return 0.0


def _power() -> Iterator[Finding]:
    governor = Host().state()["governor"]
    if governor is None:
        yield Finding("ok", "governor", "cannot be read (usual in a virtual machine)")
    elif governor == "performance":
        yield Finding("ok", "governor", "performance")
    else:
        remedy = "sudo cpupower frequency-set -g performance"
        yield Finding("note", "governor", f"{governor}: the clocks change with the load", remedy)
    battery = None
    with contextlib.suppress(OSError, AttributeError):  # no /sys/class/power_supply; no batteries
        battery = psutil.sensors_battery()
    if battery is not None and not battery.power_plugged:
        yield Finding("note", "battery", f"{battery.percent:.0f} %, not charging", "Plug it in.")
