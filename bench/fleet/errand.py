"""What travels between a client and a worker: JSON of these structs, and nothing else.

The Pythons and the versions of bench may differ, so a question has the number of its format.
"""

from __future__ import annotations

import msgspec

from bench.harness.plan import Plan
from bench.harness.suite import Suite
from bench.records import Case, Chip

FORMAT = 1


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """To a worker: which cases are a suite on your `device`, and in which environment?

    `threads` of None are all threads of the chip.
    """

    device: str
    suite: Suite
    threads: int | None = None
    format: int = FORMAT


class Errand(msgspec.Struct, frozen=True, tag="errand"):
    """To a worker: measure these cases of one group, and send each record to `topic`.

    `known` are the records of these cases that the client has, as lines of JSON: a worker of the
    same environment goes on after them. `command` is what the user typed.
    """

    device: str
    cases: list[Case]
    plan: Plan
    known: list[str]
    topic: str
    command: str
    retry_failed: bool = False
    format: int = FORMAT


class Offered(msgspec.Struct, frozen=True, tag="offered"):
    """From a worker: its chip and environment, and the cases by group. `bench` is its version."""

    chip: Chip
    environment_id: str
    groups: list[list[Case]]
    bench: str
    notes: list[str] = []


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """From a worker: all records of the cases in its environment, as lines of JSON."""

    records: list[str]
    bench: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """From a worker: why it did not do it, the remedy, and the exit code of the client."""

    message: str
    remedy: str
    exit_code: int
    bench: str = ""


class Sent(msgspec.Struct, frozen=True):
    """A record that a worker has just made, as a line of JSON, and the device it is for."""

    device: str
    record: str
    bench: str


Question = Offer | Errand
Answer = Offered | Measured | Refused


QUESTIONS: msgspec.json.Decoder[Question] = msgspec.json.Decoder(Question)
ANSWERS: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def to_json(value: object) -> str:
    """Return a struct as JSON."""
    return msgspec.json.encode(value).decode()


def format_of(text: str) -> int:
    """Return the format of a question; 0 where it has none."""
    found = msgspec.json.decode(text)
    number = found.get("format") if isinstance(found, dict) else None
    return number if isinstance(number, int) else 0
