"""What a tuning found: how a network runs fastest on a device."""

from __future__ import annotations

import msgspec

from bench.records.case import Case
from bench.records.fields import SCHEMA, Integer, Name, Number, Text


class Recipe(msgspec.Struct, frozen=True):
    """The case that a tuning chose on a device, and the versions it was chosen with.

    `gain` is how many times as fast as the best form in eager mode it is, with the ends of its
    95 % interval; None where nothing is faster than that form. `baseline` names that form.
    """

    case: Case
    environment_id: Name
    versions: dict[Name, Text | None]
    runtime: dict[Name, Text]
    baseline: Name
    gain: tuple[Number, Number, Number] | None = None
    schema: Integer = SCHEMA
