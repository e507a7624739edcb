"""Numbers that the paper reports, and counts by `bench.paper.census`. They never share a column.

The files are `reported_results.csv` and `zoo.csv` in `bench/paper/data`. Reading them needs no
torch.
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import msgspec

from bench.records import Case

DATA = Path(__file__).parent / "data"
REPORTED_FILE = DATA / "reported_results.csv"
ZOO_FILE = DATA / "zoo.csv"

# Counts that differ from the paper after rounding, each with the reason if it is known.
UP, CUT = "unknown; as if rounded up", "unknown; as if cut off"
WIDER = "unknown; perhaps it counts more than convolutions, linear layers and products"
DIFFERENCES = {
    ("resnet101", "plain"): UP,
    ("resnet152", "plain"): UP,
    ("mobilenetv3_l", "plain"): "timm's has 0.1 M more; the paper has 0.2 G here, 0.4 G in Table 6",
    ("vit_b", "plain"): "the paper leaves out the head and the attention products",
    ("repvgg_b1", "train"): UP,
    ("repvgg_b2", "train"): UP,
    ("repghost_2_0x", "train"): WIDER,
    ("repghost_2_0x", "rrep"): WIDER,
    ("replknet_31b", "train"): UP,
    ("repnext_u1_t", "train"): UP,
    ("repnext_u2_t", "train"): UP,
    ("repnext_u3_t", "rrep"): CUT,
    ("repnext_u3_t", "rrep_fc"): CUT,
    ("repnext_u3_s", "train"): UP,
    ("repnext_u3_b", "train"): WIDER,
    ("repnext_u3_b", "rrep"): CUT,
    ("repnext_u3_b", "rrep_fc"): CUT,
}


class Reported(msgspec.Struct, frozen=True):
    """A row of Tables 2-6 of the paper; None for an empty cell. Names of fields have the units.

    `printed` has the digits of each cell as the paper prints them: a float forgets the 0 of `1.0`.
    """

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
    printed: dict[str, str] = {}


@functools.lru_cache(maxsize=1)
def reported() -> tuple[Reported, ...]:
    """Return all rows of `reported_results.csv`."""
    with REPORTED_FILE.open(newline="", encoding="utf-8") as file:
        lines = [
            {key: value for key, value in line.items() if value or key in ("dataset", "note")}
            for line in csv.DictReader(file)
        ]
    blank = dict.fromkeys(Reported.__struct_fields__)  # None for the cells that are empty
    return tuple(
        msgspec.convert(blank | line | {"printed": line}, Reported, strict=False) for line in lines
    )


class Counted(msgspec.Struct, frozen=True):
    """Counts of one form of a model; MACs and activations are for an image of 224 pixels."""

    model: str
    form: str
    params: int
    macs: int
    weight_bytes: int
    activation_bytes: int


@functools.lru_cache(maxsize=1)
def counted() -> tuple[Counted, ...]:
    """Return the counts of every model of the zoo, in every form."""
    with ZOO_FILE.open(newline="", encoding="utf-8") as file:
        return tuple(msgspec.convert(row, Counted, strict=False) for row in csv.DictReader(file))


def macs() -> dict[str, float]:
    """Return the multiply-accumulates of one 224-pixel image by `model` or `model@form`."""
    return {Case(row.model, row.form).name: float(row.macs) for row in counted()}


def counts_of(model: str, form: str) -> tuple[float | None, float | None]:
    """Return parameters (millions) and MACs (10^9) at 224 pixels from the paper; None if absent.

    Table 4 takes precedence over the other tables.
    """
    rows = [r for r in reported() if (r.model, r.form, r.input_size) == (model, form, 224)]
    rows.sort(key=lambda row: row.table != 4)
    known = [row for row in rows if row.params_m is not None]
    return (known[0].params_m, known[0].gmacs) if known else (None, None)


def find(table: int, device: str, model: str, form: str) -> Reported | None:
    """Return the row of a table of the paper, or None."""
    for row in reported():
        if (row.table, row.device, row.model, row.form) == (table, device, model, form):
            return row
    return None
