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

# Counts that differ from the paper after rounding, whatever the convention (see Counted), each with
# the reason if it is known.
CUT = (
    "unknown; no convention gives less than {:.2f} G; as if cut off, or without the stem ({:.2f} G)"
)
CUT_T, CUT_B = CUT.format(4.46, 4.44), CUT.format(15.35, 15.34)
DIFFERENCES = {
    ("mobilenetv3_l", "plain"): "timm's has 0.1 M more; the paper has 0.2 G here, 0.4 G in Table 6",
    ("vit_b", "plain"): (
        "85 M are the twelve blocks alone; 16.9 G are without the attention products, "
        "which ptflops and thop do not see"
    ),
    ("replknet_31b", "deploy"): (
        "as if 79.53 M were cut off; rrep has 79.39 M, and RepLKNet's own page gives 79 M, 15.3 G"
    ),
    ("repnext_u1_t", "train"): "unknown; as if 28.43 M were rounded up",
    ("repnext_u3_t", "rrep"): CUT_T,
    ("repnext_u3_t", "rrep_fc"): CUT_T,
    ("repnext_u3_b", "rrep"): CUT_B,
    ("repnext_u3_b", "rrep_fc"): CUT_B,
}

# The official merge of these networks keeps BatchNorms that `rrep` folds: 155 in RepLKNet, 48 in
# RepGhost. `reported_results.csv` calls the form after each →r of the paper `rrep`. Here it most
# likely was `deploy`: with the 48 BatchNorms, thop counts the paper's 0.535 G for RepGhost.
OFFICIAL = {("replknet_31b", "rrep"): "deploy", ("repghost_2_0x", "rrep"): "deploy"}


class Reported(msgspec.Struct, frozen=True):
    """A row of Tables 2-6 of the paper; None for an empty cell. Names of fields have the units.

    `form` is the form that the paper most likely measured; see OFFICIAL.
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
    """Return all rows of `reported_results.csv`, with the forms of OFFICIAL."""
    with REPORTED_FILE.open(newline="", encoding="utf-8") as file:
        lines = [
            {key: value for key, value in line.items() if value or key in ("dataset", "note")}
            for line in csv.DictReader(file)
        ]
    blank = dict.fromkeys(Reported.__struct_fields__)  # None for the cells that are empty
    for line in lines:
        line["form"] = OFFICIAL.get((line["model"], line["form"]), line["form"])
    return tuple(
        msgspec.convert(blank | line | {"printed": line}, Reported, strict=False) for line in lines
    )


class Counted(msgspec.Struct, frozen=True):
    """Counts of one form of a model; all but `params` and `weight_bytes` are for 224 pixels.

    `macs` are multiply-accumulates of convolutions, linear layers and matrix products. The last
    four fields count elements of small operators (see `bench.models.cost.SmallOperators`), which
    public tools add: two conventions for one network.
    """

    model: str
    form: str
    params: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    biases: int
    normalised: int
    activated: int
    pooled: int

    @property
    def as_ptflops(self) -> int:
        """MACs + biases + 2 x BatchNorm + activations + pooling, the convention of ptflops 0.6.

        ptflops sees modules only, so it leaves out attention products; this count has them.
        """
        return self.macs + self.biases + 2 * self.normalised + self.activated + self.pooled

    @property
    def as_thop(self) -> int:
        """MACs + 4 x BatchNorm + pooling, the convention of thop 0.1.1 (attention: as above)."""
        return self.macs + 4 * self.normalised + self.pooled


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
