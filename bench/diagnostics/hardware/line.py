"""A line of the page of a first contact: what was seen, the limit, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Verdict = Literal["PASS", "FAIL", "NOT POSSIBLE"]


class Line(msgspec.Struct, frozen=True):
    """One claim about the device.

    `seen` has the numbers that decide, `limit` what they must meet. `why` gives the reason where
    the verdict is FAIL or NOT POSSIBLE. `raw` holds the numbers that `seen` is computed from.
    """

    name: str
    verdict: Verdict
    seen: str = ""
    limit: str = ""
    why: str = ""
    raw: Mapping[str, Any] = {}

    @property
    def failed(self) -> bool:
        """Whether the device, or `bench` on the device, is wrong."""
        return self.verdict == "FAIL"


def judged(
    name: str, met: bool, *, seen: str, limit: str, why: str, raw: Mapping[str, Any] | None = None
) -> Line:
    """Return PASS if the limit is met; otherwise FAIL with the reason `why`."""
    return Line(name, "PASS" if met else "FAIL", seen, limit, "" if met else why, raw or {})


def impossible(name: str, why: str, raw: Mapping[str, Any] | None = None) -> Line:
    """Return NOT POSSIBLE with the reason."""
    return Line(name, "NOT POSSIBLE", why=why, raw=raw or {})


def all_pass(lines: Sequence[Line]) -> bool:
    """Whether no line failed. A line that is not possible does not count."""
    return not any(line.failed for line in lines)
