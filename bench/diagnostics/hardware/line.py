"""A line of the page of a first contact: what was seen, the limit, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from bench.errors import BenchError

Verdict = Literal["PASS", "FAIL", "NOT POSSIBLE"]
NextCall = Literal["keeps", "repeats", "resumes"]


class Line(msgspec.Struct, frozen=True):
    """One claim about the device.

    `seen` has the numbers that decide, `limit` what they must meet. `why` gives the reason where
    the verdict is FAIL or NOT POSSIBLE. `raw` holds the numbers that `seen` is computed from.
    `next_call` is what the same command does next time: it keeps the line, measures it anew, or
    measures what is missing.
    """

    name: str
    verdict: Verdict
    seen: str = ""
    limit: str = ""
    why: str = ""
    raw: Mapping[str, Any] = {}
    next_call: NextCall = "keeps"

    @property
    def failed(self) -> bool:
        """Whether the device, or `bench` on the device, is wrong."""
        return self.verdict == "FAIL"

    @property
    def repeats(self) -> bool:
        """Whether the next call measures the line anew."""
        return self.failed or self.next_call == "repeats"

    @property
    def is_unfinished(self) -> bool:
        """Whether the time of the call was over before the line was measured in full."""
        return self.next_call == "resumes"


def judged(
    name: str, met: bool, *, seen: str, limit: str, why: str, raw: Mapping[str, Any] | None = None
) -> Line:
    """Return PASS if the limit is met; otherwise FAIL with the reason `why`."""
    if met:
        return Line(name, "PASS", seen, limit, raw=raw or {})
    return Line(name, "FAIL", seen, limit, why, raw or {}, "repeats")


def failure(name: str, why: str) -> Line:
    """Return FAIL for a line without numbers, with the reason."""
    return Line(name, "FAIL", why=why, next_call="repeats")


def refused(name: str, error: BenchError) -> Line:
    """Return FAIL for a line that an error prevented, with its message and its remedy."""
    return failure(name, with_remedy(error.message, error.remedy))


def with_remedy(text: str, remedy: str) -> str:
    """Return `text` and what to do about it, in one line."""
    return " ".join(f"{text}: {remedy}".split()) if remedy else text


def impossible(
    name: str,
    why: str,
    raw: Mapping[str, Any] | None = None,
    *,
    seen: str = "",
    limit: str = "",
    next_call: NextCall = "keeps",
) -> Line:
    """Return NOT POSSIBLE with the reason."""
    return Line(name, "NOT POSSIBLE", seen, limit, why, raw or {}, next_call)


def all_pass(lines: Sequence[Line]) -> bool:
    """Whether no line failed. A line that is not possible does not count."""
    return not any(line.failed for line in lines)
