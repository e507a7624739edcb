"""What travels between a client and a worker: JSON of these structs, and nothing else.

The Pythons and the versions of bench may differ, so each message has the number of its format.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bench.harness.plan import Plan
from bench.harness.suite import Overrides, Suite
from bench.records import Case, Environment, Failure, Measurement

FORMAT = 1


class FormatError(ValueError):
    """A message that this version of bench does not understand."""


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """To a worker: which cases are a suite on your `device`, and in which environment?

    `weights` is a file, instead of that of `overrides`, which no JSON holds. `threads` of None are
    all threads of the chip.
    """

    device: str
    suite: Suite
    overrides: Overrides = Overrides()
    weights: str = ""
    threads: int | None = None
    format: int = FORMAT


class Errand(msgspec.Struct, frozen=True, tag="errand"):
    """To a worker: measure these cases of one group in this environment.

    `known` are the records of these cases that the client has: a worker continues after them.
    `retried` are cases whose last failure in `known` is no reason to leave them out. `generations`
    maps a case to the earliest generation that counts. `campaign` is the name under which a worker
    keeps what it measures for the client's folder. `command` is what the user typed, and
    `labels` are the names that the user gave to networks.
    """

    device: str
    environment_id: str
    cases: list[Case]
    plan: Plan
    campaign: str
    command: str
    known: list[Measurement | Failure] = []
    retried: list[str] = []
    generations: dict[str, int] = {}
    labels: dict[str, str] = {}
    format: int = FORMAT


class Offered(msgspec.Struct, frozen=True, tag="offered"):
    """From a worker: its environment, the cases by group, and notes on weights and inputs."""

    environment: Environment
    groups: list[list[Case]]
    notes: list[str] = []


class Made(msgspec.Struct, frozen=True, tag="made"):
    """From a worker: a record, as a line of JSON that the client checks as it checks a file."""

    record: str


class Waits(msgspec.Struct, frozen=True, tag="waits"):
    """From a worker: it waits for another run on its machine, which the message names."""

    message: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """From a worker: why it did not do it, the remedy, and the exit code of the client.

    `is_elsewhere`: its chip is not the one that an alias names, but that of another worker may be.
    """

    message: str
    remedy: str
    exit_code: int
    is_elsewhere: bool = False


class Sent(msgspec.Struct, frozen=True):
    """A message from a worker with this version of bench."""

    bench: str
    body: Offered | Made | Waits | Refused
    format: int = FORMAT


Question = Offer | Errand


def to_json(value: object) -> str:
    """Return a struct as JSON."""
    return msgspec.json.encode(value).decode()


def question_of(text: str) -> Question:
    """Return the question in a text. Raises FormatError."""
    return _decoded(text, Offer | Errand)


def sent_of(text: str) -> Sent:
    """Return the message of a worker in a text. Raises FormatError."""
    return _decoded(text, Sent)


def _decoded(text: str, kind: Any) -> Any:
    try:
        number = msgspec.json.decode(text, type=_Numbered).format
        if number > FORMAT:
            raise FormatError(f"it has format {number}, which is later than {FORMAT}")
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FormatError(str(error)) from None


class _Numbered(msgspec.Struct):
    format: int = 0
