"""A case, and where a child process finds its model."""

from __future__ import annotations

import hashlib

import msgspec

from bench.records.fields import Name, Whole


class Case(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """One thing to measure. `device` is the driver (`cpu`), never an alias."""

    model: Name
    form: Name
    backend: Name = "eager"
    precision: Name = "fp32"
    batch: Whole = 1
    resolution: Whole = 224
    device: Name = "cpu"
    threads: Whole = 1

    @property
    def case_id(self) -> str:
        """A hash of the canonical JSON of the case."""
        canonical = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(canonical).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The model with its form, as `--models` takes it."""
        return self.model if self.form == "plain" else f"{self.model}@{self.form}"

    @property
    def group(self) -> tuple[str, int, int]:
        """Cases of one group are compared, so they take turns: device, batch, resolution."""
        return (self.device, self.batch, self.resolution)


class Source(msgspec.Struct, frozen=True):
    """Where a child finds what the case's name alone does not tell: paths, so never on record.

    `zoo` is the name there of a model that has `weights` of the user's.
    """

    zoo: str = ""
    factory: str = ""
    file: str = ""
    file_hash: str = ""
    module: str = ""
    weights: str = ""
    weights_hash: str = ""
