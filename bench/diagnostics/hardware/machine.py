"""Lines on the machine: what doctor says, and the state of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.diagnostics.doctor import SHARE_THE_GPU, USUAL_PRECISION, Finding
from bench.diagnostics.hardware.line import Line, impossible, judged, with_remedy
from bench.records import Chip
from bench.text import facts, significant

DOCTOR = "doctor"
STATE = "state of the device"
SHARED = "default"
# Findings about one device each; the lines on backends follow below.
OF_OTHERS = ("device ", "torch on ", f"{USUAL_PRECISION} on ", "state of ", "backend ")


def doctor(findings: Sequence[Finding], device: str) -> Line:
    """Judge what doctor says of the software and of this device, without other devices."""
    own = {f"{prefix}{device}" for prefix in OF_OTHERS}
    counted = [each for each in findings if each.about in own or not _of_others(each)]
    lacks = [each for each in counted if each.level == "lack"]
    notes = [each for each in counted if each.level == "note"]
    return judged(
        DOCTOR,
        not lacks,
        seen=f"{len(counted)} findings, {len(lacks)} of them lacks"
        + "".join(f"; note on {each.about}: {each.text}" for each in notes),
        limit="nothing that this device needs is lacking",
        why="; ".join(with_remedy(f"{each.about}: {each.text}", each.remedy) for each in lacks),
        raw={"findings": [each._asdict() for each in counted]},
    )


def _of_others(finding: Finding) -> bool:
    return finding.about.startswith(OF_OTHERS)


def state(found: Mapping[str, str | int | float | None], chip: Chip) -> Line:
    """Judge the idle state: no other process computes, several may, and no clock is too high."""
    raw = {"state": dict(found), "facts": dict(chip.facts)}
    unread = [name for name, value in found.items() if value is None]
    if len(unread) == len(found):
        return impossible(STATE, "no value of the state can be read", raw)
    faults = []
    if others := found.get("foreign_processes"):
        faults.append(f"{others} other processes use the device")
    mode = found.get("compute_mode")
    if mode not in (None, SHARED):
        faults.append(f"the compute mode is {mode}, so cases take no turns: {SHARE_THE_GPU}")
    clock, most = _number(found.get("clock_mhz")), _number(_highest_mhz(chip))
    if clock is not None and most is not None and clock > most:
        faults.append(f"the clock of {clock:g} MHz is above its maximum")
    missing = f"; cannot be read: {', '.join(unread)}" if unread else ""
    return judged(
        STATE,
        not faults,
        seen=facts({name: _brief(value) for name, value in found.items()}) + missing,
        limit="no other process, several may compute" + (f", at most {most:g} MHz" if most else ""),
        why="; ".join(faults),
        raw=raw,
    )


def _highest_mhz(chip: Chip) -> object:
    return chip.facts.get("max_clock_mhz") or chip.facts.get("gpu_max_mhz")


def _brief(value: str | int | float | None) -> str | int | None:
    return significant(value) if isinstance(value, float) else value


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
