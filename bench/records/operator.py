"""One call of an operator in a network: what lies under a row of a breakdown."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Category


class Operator(NamedTuple):
    """Its name, the module that calls it, and what it costs.

    `macs` are multiply-accumulates (None of what is no product), `bytes` those that it reads and
    writes if nothing stays in a cache; 0 for a view, which moves nothing.
    """

    name: str
    module: str
    category: Category
    macs: int | None
    bytes: int
    namespace: str = "aten"
