"""The chip and the software of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from bench.records.fields import SCHEMA, Integer, Name, Number, Ordinal, Text

SLUG_LETTERS = 100


class Chip(msgspec.Struct, frozen=True):
    """Constant facts about a device.

    `kind` is the paper's kind of device (`cpu`, `gpu`, `edge`), or "" if the paper has none like
    it. `threads` is the number of usable CPUs, 0 if not known.
    """

    device: Name
    kind: Name
    name: Text
    threads: Ordinal
    facts: dict[Name, Text | Integer | Number | None]

    @property
    def slug(self) -> str:
        """The chip's name in lower case with hyphens, which names its folder of results."""
        return slug_of(self.name) or slug_of(self.device) or "unknown"


def clock_limits(facts: Mapping[str, str | int | float | None]) -> str | None:
    """The limits of the clock in the facts of a chip, as `306 to 1020 MHz`."""
    low, high = (facts.get(name) for name in ("gpu_min_mhz", "gpu_max_mhz"))
    return None if low is None or high is None else f"{low:g} to {high:g} MHz"


class Environment(msgspec.Struct, frozen=True, tag="environment", tag_field="type"):
    """The chip and the software of a run. `environment_id` hashes chip and versions, not state.

    `variables` are those of the shell that decide how torch computes, where they are set; the id
    hashes them, too. `labels` maps the name of a model in cases to the name that the user gave it
    with `--label`.
    """

    run_id: Name
    environment_id: Name
    chip: Chip
    versions: dict[Name, Text | None]
    state: dict[Name, Text | Integer | Number | None]
    started_at: Name
    command: str
    labels: dict[Name, Name] = {}
    variables: dict[Name, Text] = {}
    schema: Integer = SCHEMA


def slug_of(text: str) -> str:
    """`text` as a safe name of a folder: lower-case letters, digits and hyphens."""
    return "-".join(re.findall("[a-z0-9]+", text.lower()))[:SLUG_LETTERS].strip("-")
