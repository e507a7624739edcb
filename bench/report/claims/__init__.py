"""The paper's claims about efficiency under test: `claims.md`, `claims.csv`. Pure.

A claim is data (`catalogue`), made of quantities that know what the paper's tables print of them
and what a device has on record; one rule judges all (`verdicts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.claims import catalogue, page, verdicts
from bench.report.claims.page import lines
from bench.report.claims.verdicts import Judged
from bench.report.devices import DeviceResults

__all__ = ["Judged", "judge", "lines", "render"]


def judge(devices: Sequence[DeviceResults]) -> list[Judged]:
    """Every claim of the paper, judged on `devices`: the latest environment of each."""
    return verdicts.judge(catalogue.claims(), devices)


def render(judged: Sequence[Judged], devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """`claims.md`, and `claims.csv` with a line for each quantity of a claim on each device.

    `judged` are all claims on these `devices`.
    """
    return {
        "claims.md": page.to_markdown(judged, devices).encode(),
        "claims.csv": page.in_csv(judged).encode(),
    }
