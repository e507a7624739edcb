"""One call of an operator in a network; the rows of a breakdown sum such calls."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Category


class Operator(NamedTuple):
    """One call of an operator: its name, the module that calls it, and its cost.

    `macs` counts multiply-accumulates; None if the operator is no product. `bytes` counts what it
    reads and writes if nothing stays in a cache; 0 for a view.
    """

    name: str
    module: str
    category: Category
    macs: int | None
    bytes: int
    namespace: str = "aten"
