"""Faults that must change a verdict: real ones where possible, else simulated `/proc`, `/sys`."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.analysis.conditions import conditions_over
from bench.analysis.reasons import Doubt
from bench.analysis.verdict import Machine, judge, quiet_of
from bench.devices.host import Host, allowed_cpus
from bench.devices.threads import JIFFY_S
from bench.errors import UsageError, starting
from bench.process import command_for_code
from bench.records import Conditions, Measurement

SPIN = (
    "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with its parent
)
WALL_S = 10.0


class FaultResult(msgspec.Struct, frozen=True):
    """A fault, how it was caused, what was required, and the verdict on the measurement."""

    fault: str
    how: str
    required: str
    verdict: str
    passed: bool


class Hog:
    """A context manager: one busy process for each CPU that this process may use."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Hog:
        command = command_for_code(SPIN)
        try:
            for _ in allowed_cpus():
                with starting("a busy process"):
                    self._processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        except UsageError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def judge_fault(fault: str, how: str, record: Measurement, doubt: Doubt | None) -> FaultResult:
    """Judge a record that was measured under a fault.

    It passes if the verdict has the reason `doubt`; for `doubt` None, if it has no reason.
    """
    verdict = judge(record, Machine(quiet_of([record])))
    doubts = {reason.doubt for reason in verdict.reasons}
    passed = doubts == set() if doubt is None else doubt in doubts
    required = "VALID" if doubt is None else "the verdict names it"
    return FaultResult(fault, how, required, verdict.text, passed)


def scripted(clean: Measurement) -> list[FaultResult]:
    """Judge copies of the record `clean`, each with one simulated fault in `/proc` or `/sys`."""
    how = "simulated /proc and /sys"
    cases: tuple[tuple[str, Mapping[str, float], Doubt | None], ...] = (
        ("nothing", {}, None),
        ("steal", {"steal": 0.3}, Doubt.STOLEN),
        ("cgroup quota", {"throttled": 0.2}, Doubt.QUOTA),
        ("throttled clock", {"clock": 0.7}, Doubt.CLOCK),
        ("missing sensor", {"blind": 1}, Doubt.SENSOR),
    )
    results = []
    for fault, change, doubt in cases:
        with tempfile.TemporaryDirectory() as folder:
            conditions = _sensed(Path(folder), change)
        record = msgspec.structs.replace(clean, conditions=conditions, warnings=[], steady=True)
        results.append(judge_fault(fault, how, record, doubt))
    return results


def _sensed(root: Path, change: Mapping[str, float]) -> Conditions:
    """Read a simulated tree before and after WALL_S seconds in which only our process ran.

    `change` is the fault, as `write_tree` takes it.
    """
    write_tree(root, 0.0, {})
    host = Host(root)
    before = msgspec.structs.replace(host.sense(), at_s=0.0, own_cpu_s=0.0)
    write_tree(root, WALL_S, change)
    after = msgspec.structs.replace(host.sense(), at_s=WALL_S, own_cpu_s=WALL_S)
    return conditions_over([(before, after)])


def write_tree(root: Path, seconds: float, change: Mapping[str, float]) -> None:
    """Write `/proc` and `/sys` of a machine whose CPUs were busy for `seconds` in total.

    `change` is the fault: `steal` and `throttled` are shares of `seconds`, `clock` is a factor
    on the clock of 3 GHz, and `blind` leaves out /proc/stat.
    """
    cpus = sorted(allowed_cpus())
    steal = change.get("steal", 0) * seconds
    lines = []
    for index in cpus:
        busy = seconds / len(cpus) / JIFFY_S
        lines.append(f"cpu{index} {busy:.0f} 0 0 0 0 0 0 {steal / JIFFY_S:.0f} 0 0")
    throttled = change.get("throttled", 0) * seconds
    clock = 3e6 * change.get("clock", 1)
    files = {
        "proc/stat": "\n".join(lines),
        "proc/self/cgroup": "0::/",
        "proc/self/task/1/schedstat": f"{seconds * 1e9:.0f} 0 1",
        "sys/fs/cgroup/cpu.stat": f"nr_throttled {throttled:.0f}\n"
        f"throttled_usec {throttled * 1e6:.0f}",
    }
    clocks = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    files |= {clocks.format(index): f"{clock:.0f}" for index in cpus}
    if change.get("blind"):
        (root / "proc/stat").unlink()
        del files["proc/stat"]
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
