"""Pure functions: convert a reading of jtop's client to Gauges, and its exceptions to reasons.

Attributes, units and messages are those of jetson-stats 4.2 to 7.2.
"""

from __future__ import annotations

import re
from typing import Any

from bench.devices.installation import pip_install
from bench.devices.sensors.sensor import LEVELS
from bench.devices.sensors.sysfs import UnreadableError
from bench.devices.sensors.tegra_rails import total_of
from bench.records import Gauges

NOT_RUNNING = "jtop.service is not running: sudo systemctl restart jtop.service"
NOT_ALLOWED = "jtop.service lets only its group in: sudo usermod -aG jtop $USER, then log in again"
LOST = "jtop.service ended or dropped the connection"
SILENT = "jtop.service is silent"
# NVML has almost no data on an Orin's GPU. If jtop reads NVML, it shows zeros.
OF_NVML = "jtop took NVML for the GPU's files, at boot: sudo systemctl restart jtop.service"

# Parts of the client's messages, and the reasons. The first part in the message counts.
MEANINGS = [
    ("not active", NOT_RUNNING),
    ("can't access", NOT_ALLOWED),
    ("Permission denied", NOT_ALLOWED),
    ("Authentication", "jtop's service and client differ: install the same jetson-stats for both"),
    ("Python versions", "jtop's service and client run on Pythons that differ too much"),
    ("Lost connection", LOST),
    ("Error connection", SILENT),
]
MISMATCH = re.compile(r"service: \[([^\]]*)\] and client: \[([^\]]*)\]")  # their versions

MAX_LEVEL = 1e12


def reason_of(error: BaseException) -> str:
    """Return the reason, with a remedy if there is one, for an exception of jtop's client."""
    if isinstance(error, ModuleNotFoundError) and error.name == "jtop":
        return f"jtop is not installed: {pip_install()} jetson-stats"
    if type(error).__name__ == "Empty":  # queue.Empty: the service did not answer the greeting
        return SILENT
    message = str(error)
    if versions := MISMATCH.search(message):
        service, client = versions.groups()
        return (
            f"jtop's service is {service} and its client {client}: install the same "
            f"jetson-stats for both, then sudo systemctl restart jtop.service"
        )
    for part, meaning in MEANINGS:
        if part in message:
            return meaning
    if isinstance(error, (EOFError, ConnectionError)):
        return LOST
    return f"jtop failed: {type(error).__name__}: {message}".rstrip(": ")


def gauges_of(client: Any) -> Gauges:
    """Convert the client's reading (per cent, kHz, °C, mW) to Gauges (share, Hz, °C, W)."""
    levels: dict[str, Any] = {}
    missing = dict.fromkeys(LEVELS, "jtop does not tell")
    gpu: Any = next(iter(client.gpu.values()), {})
    by_nvml = "nvml" in (_at(gpu, "power_control"), _at(gpu, "freq", "governor"))
    if by_nvml:
        missing |= dict.fromkeys(["utilisation", "clock_hz"], OF_NVML)
    else:
        levels["utilisation"] = _scaled(_at(gpu, "status", "load"), 1e-2, 0, 100)
        levels["clock_hz"] = _scaled(_at(gpu, "freq", "cur"), 1e3, 1)
    levels["memory_clock_hz"] = _scaled(
        _at(client.memory, "EMC", "cur"), 1e3, 2
    )  # 1 means not read
    temperatures = {name.lower(): zone for name, zone in client.temperature.items()}
    levels["temperature_c"] = _scaled(_at(temperatures, "gpu", "temp"), 1, -50, 150)
    try:
        levels["power_w"] = _power_w(client.power)
    except UnreadableError as error:
        missing["power_w"] = f"jtop has {error}"
    known = {name: level for name, level in levels.items() if level is not None}
    return Gauges(**known, missing={n: why for n, why in missing.items() if n not in known})


def _power_w(power: Any) -> float | None:
    """Return the power of the whole module in watts. jtop shows VDD_IN as the total, not a rail."""
    rails = {name: _at(rail, "power") for name, rail in (_at(power, "rail") or {}).items()}
    if total := _at(power, "tot", "name"):
        rails[total] = _at(power, "tot", "power")
    watts = [_scaled(rails[name], 1e-3, -100) for name in total_of(rails)]
    known = [value for value in watts if value is not None]
    return sum(known) if len(known) == len(watts) else None


def _at(tree: Any, *keys: str) -> Any:
    """Return tree[key][key]... in nested mappings; None if a key is absent."""
    for key in keys:
        if not hasattr(tree, "get"):  # some mappings of jtop are not a dict
            return None
        tree = tree.get(key)
    return tree


def _scaled(value: Any, unit: float, low: float, high: float = MAX_LEVEL) -> float | None:
    """Return value * unit if `value` is a number and low <= value <= high; otherwise None."""
    if isinstance(value, (int, float)) and low <= value <= high:
        return value * unit
    return None
