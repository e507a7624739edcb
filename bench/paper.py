"""What the paper reports (`bench/data/reported_results.csv`): never in one column with ours."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import msgspec

FILE = Path(__file__).parent / "data" / "reported_results.csv"


class Reported(msgspec.Struct, frozen=True):
    """A row of the paper's Tables 2-6; None where the table has nothing. Units as in the names."""

    table: int
    device: str
    input_size: int
    model: str
    form: str
    params_m: float | None
    gmacs: float | None
    latency_ms: float | None
    latency_std_ms: float | None
    throughput_img_s: float | None
    top1: float | None
    dataset: str
    note: str


@functools.lru_cache(maxsize=1)
def reported() -> tuple[Reported, ...]:
    """All rows."""
    with FILE.open(newline="", encoding="utf-8") as file:
        lines = [
            {key: value for key, value in line.items() if value or key in ("dataset", "note")}
            for line in csv.DictReader(file)
        ]
    blank = dict.fromkeys(Reported.__struct_fields__)
    return tuple(msgspec.convert(blank | line, Reported, strict=False) for line in lines)


def top1(model: str) -> float | None:
    """Top-1 accuracy in per cent on ImageNet-1K; None for a model that the paper has not."""
    for row in reported():
        if row.model == model and row.dataset == "imagenet1k":
            return row.top1
    return None


def macs() -> dict[str, float]:
    """Multiply-accumulates of one 224-pixel image, by `model` or `model@form`."""
    return {
        row.model if row.form == "plain" else f"{row.model}@{row.form}": row.gmacs * 1e9
        for row in reported()
        if row.gmacs and row.input_size == 224
    }


def find(table: int, device: str, model: str, form: str) -> Reported | None:
    """The row of a table, or None."""
    for row in reported():
        if (row.table, row.device, row.model, row.form) == (table, device, model, form):
            return row
    return None
