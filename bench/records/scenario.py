"""When a network is called, and what a sample counts. Imports nothing of ours.

A scenario has a name that says all: `rest-1s`, `pace-15hz`. `tight` is the usual one.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

TIGHT, COLD, REST, PACE = "tight", "cold", "rest", "pace"
SUSTAINED, PIPELINE = "sustained", "pipeline"
SCENARIOS = {  # by kind; what follows the kind in a name is shown by an example
    TIGHT: "calls one after another, without a pause",
    COLD: "the start of a process: imports, network or file, first call",
    "rest-1s": "a call after so many seconds of rest",
    "pace-15hz": "calls at a fixed rate, as a camera sends images; late answers are counted",
    "sustained-600s": "calls without a pause for so long: the first tenth against the last",
    PIPELINE: "with the preprocessing of the image and the copies to the device and back",
}
KNOWN_AS = {  # names that others use
    **dict.fromkeys(["singlestream", "single-stream", "loop", "closed-loop"], "That is `tight`."),
    **dict.fromkeys(["cold-start", "coldstart", "start", "load"], "That is `cold`."),
    **dict.fromkeys(["idle", "rest", "after-idle"], "Say for how long: `rest-1s`."),
    **dict.fromkeys(["pace", "paced", "constantstream"], "Say at which rate: `pace-15hz`."),
    **dict.fromkeys(["sustained", "soak", "burn-in"], "Say for how long: `sustained-600s`."),
    **dict.fromkeys(["end-to-end", "e2e", "preprocessing"], "That is `pipeline`."),
}
NUMBER = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)"
WITH_AMOUNT = {REST: f"{NUMBER}s", PACE: f"{NUMBER}hz", SUSTAINED: f"{NUMBER}(s|m)"}
LONGEST_REST_S, FASTEST_HZ, LONGEST_S = 600.0, 10_000.0, 24 * 3600.0
MOST = {REST: LONGEST_REST_S, PACE: FASTEST_HZ, SUSTAINED: LONGEST_S}
UNITS = {REST: "s", PACE: "hz", SUSTAINED: "s"}
MINUTE_S = 60.0


class Scenario(NamedTuple):
    """A kind of scenario with its amount: seconds of a rest or in all, or calls in a second."""

    kind: str
    amount: float = 0.0

    @property
    def name(self) -> str:
        """The name that a case has: `rest-1s`, with no more digits than needed."""
        amount = f"{self.amount:.6f}".rstrip("0").rstrip(".")
        return f"{self.kind}-{amount}{UNITS[self.kind]}" if self.amount else self.kind

    @property
    def place(self) -> tuple[int, float]:
        """Its place among others in a table: by kind, then by amount."""
        kinds = [each.partition("-")[0] for each in SCENARIOS]
        return (kinds.index(self.kind) if self.kind in kinds else len(kinds), self.amount)

    @property
    def is_alone(self) -> bool:
        """Whether its cases take no turns with those of other scenarios."""
        return self.kind in (COLD, SUSTAINED)

    @property
    def has_throughput(self) -> bool:
        """Whether one call follows another, so that batch / latency is a throughput."""
        return self.kind not in (COLD, REST, PACE)

    def span_s(self, call_s: float) -> float:
        """Return the seconds from one sample to the next, where a call takes `call_s`."""
        if self.kind == REST:
            return self.amount + call_s
        if self.kind == PACE:
            return max(1 / self.amount, call_s)
        return call_s


def parse(text: str) -> Scenario | None:
    """Return the scenario of this name in any case, `sustained-10m` included; None if none has it.

    None too where the amount is 0, or larger than anybody waits for.
    """
    text = text.strip().lower()
    kind, _, rest = text.partition("-")
    if not rest:
        return Scenario(text) if text in (TIGHT, COLD, PIPELINE) else None
    found = re.fullmatch(WITH_AMOUNT[kind], rest) if kind in WITH_AMOUNT else None
    if not found:
        return None
    minutes = kind == SUSTAINED and found[2] == "m"
    amount = float(found[1]) * (MINUTE_S if minutes else 1.0)
    return Scenario(kind, amount) if 0 < amount <= MOST[kind] else None


@functools.lru_cache(maxsize=256)  # each record is asked for it
def of(name: str) -> Scenario:
    """Return the scenario of a name; one that is not known is a kind of its own."""
    return parse(name) or Scenario(name)
