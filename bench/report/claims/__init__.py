"""Tests of the paper's claims about efficiency: `claims.md`, `claims.csv`. Pure.

A claim is data (`catalogue`). It has quantities; each quantity computes its value from the paper's
tables and from a device's records. One rule gives the verdict of every claim (`verdicts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.claims import catalogue, page, verdicts
from bench.report.claims.page import lines
from bench.report.claims.verdicts import ClaimResult
from bench.report.devices import DeviceResults

__all__ = ["ClaimResult", "judge", "lines", "render"]


def judge(devices: Sequence[DeviceResults]) -> list[ClaimResult]:
    """The result of every claim on `devices`, each in its latest environment."""
    return verdicts.judge(catalogue.claims(), devices)


def render(judged: Sequence[ClaimResult], devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """`claims.md`, and `claims.csv` with a line per claim, quantity and device.

    `judged` are the results of `judge(devices)`.
    """
    return {
        "claims.md": page.to_markdown(judged, devices).encode(),
        "claims.csv": page.in_csv(judged).encode(),
    }
