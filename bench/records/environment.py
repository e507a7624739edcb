"""Where a run was made."""

from __future__ import annotations

import re

import msgspec

from bench.records.fields import SCHEMA, Integer, Name, Number, Text

SLUG_LETTERS = 100


class Chip(msgspec.Struct, frozen=True):
    """What a device is: facts that do not change while it runs.

    `kind` is the paper's kind of device (`cpu`, `gpu`, `edge`), "" for one that is none.
    """

    device: Name
    kind: Name
    name: Text
    threads: Integer
    facts: dict[Name, Text | Integer | Number | None]

    @property
    def slug(self) -> str:
        """The chip's name in lower case with hyphens: the name of its folder of results."""
        return _slug(self.name) or _slug(self.device) or "unknown"


class Environment(msgspec.Struct, frozen=True, tag="environment", tag_field="type"):
    """Where a run was made. `environment_id` hashes chip and versions, not the state."""

    run_id: Name
    environment_id: Name
    chip: Chip
    versions: dict[Name, Text | None]
    state: dict[Name, Text | Integer | Number | None]
    started_at: Name
    command: str
    schema: Integer = SCHEMA


def _slug(text: str) -> str:
    """What can be part of a path anywhere, and lead nowhere else: letters, digits and hyphens."""
    return "-".join(re.findall("[a-z0-9]+", text.lower()))[:SLUG_LETTERS].strip("-")
