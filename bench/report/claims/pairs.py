"""The pairs of networks that a claim compares, read from the paper's tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

from bench import paper
from bench.paper.tables import Reported
from bench.report.claims.claim import BEYOND
from bench.report.claims.evidence import Place
from bench.report.claims.quantities import Ratio

OURS = "repnext"  # prefix of the paper's own networks
SIZES = ("repnext_u3_t", "repnext_u3_s", "repnext_u3_b")
T = SIZES[0]
UNITS = ("repnext_u1_t", "repnext_u2_t", T)
SAME_SIZE = 0.25  # a network of the same size differs by at most this share of the parameters


def steps(before: str, after: str, table: int = 4, device: str = "a100") -> list[Ratio]:
    """latency(before) / latency(after) of RepNeXt in each size that the table has."""
    sizes = SIZES if table == 4 else SIZES[:1]
    return [Ratio(Place(m, before), Place(m, after), table, device) for m in sizes]


def throughputs(slow: str, fast: str, table: int = 4, device: str = "a100") -> list[Ratio]:
    """throughput(fast) / throughput(slow) of RepNeXt in each size that the table has."""
    return [each.batched() for each in steps(slow, fast, table, device)]


def against(rivals: tuple[str, ...], form: str = "srep") -> list[Ratio]:
    """latency(rival) / latency(RepNeXt) in Table 4, for sizes T, S, B."""
    return [
        Ratio(Place(rival), Place(model, form)) for rival, model in zip(rivals, SIZES, strict=True)
    ]


def all_others(table: int, device: str, form: str) -> list[Ratio]:
    """latency(other) / latency(RepNeXt-u3-T in `form`), for every other row of a table."""
    return [
        Ratio(_place(row), Place(T, form), table, device)
        for row in _rows(table, device)
        if (row.model, row.form) != (T, form)
    ]


def most(device: str, form: str) -> list[Ratio]:
    """latency(rival) / latency(RepNeXt-u3-T in `form`), for the other networks of Table 6."""
    pairs = all_others(6, device, form)
    return [pair for pair in pairs if not pair.slow.model.startswith(OURS)]


def rivals() -> list[Ratio]:
    """latency(rival) / latency(RepNeXt-u3-T-sRep), for every other network of Table 4."""
    return [Ratio(_place(row), Place(T, "srep")) for row in _rivals()]


def rival(model: str) -> Place:
    """A network of Table 4 in the last form of its chain: re-parameterised where the paper does."""
    return next(_place(row) for row in _rivals() if row.model == model)


def of_its_size() -> list[Ratio]:
    """throughput(rRep-fc) / throughput(rival), for each size and its rivals in Table 4.

    A rival of a size has at most 25 % more or fewer parameters.
    """
    found = []
    for model in SIZES:
        own = paper.find(4, "a100", model, "rrep_fc")
        assert own is not None
        params = own.params_m or 0.0
        for row in _rivals():
            if abs((row.params_m or 0.0) - params) <= SAME_SIZE * params:
                pair = Ratio(_place(row), Place(model, "rrep_fc"))
                found.append(pair.batched())
    return found


def highest_throughput() -> list[Ratio]:
    """throughput(RepNeXt-u3-T-rRep-fc) / throughput(other), for every other row of Table 6."""
    others = [row for row in _rows(6, "a100") if (row.model, row.form) != (T, "rrep")]
    return [Ratio(_place(row), Place(T, "rrep_fc")).batched() for row in others]


def as_accurate() -> list[Ratio]:
    """latency(rival) / latency(sRep), for every rival in Table 4 that is at least as accurate."""
    found = []
    for model in SIZES:
        own = paper.find(4, "a100", model, "srep")
        assert own is not None
        found += [
            Ratio(_place(row), Place(model, "srep"))
            for row in _rivals()
            if (row.top1 or 0) >= (own.top1 or 0)
        ]
    return found


def transformers() -> list[Ratio]:
    """latency(transformer) / latency(sRep), for every transformer of Table 4.

    sRep has the smallest size whose top-1 is at least the transformer's.
    """
    found = []
    for model in ("deit_s", "deit_b", "swin_t", "swin_s", "swin_b", "maxvit_t"):
        rival = paper.find(4, "a100", model, "plain")
        assert rival is not None
        own = (paper.find(4, "a100", size, "srep") for size in SIZES)
        size = next(row.model for row in own if row and (row.top1 or 0) >= (rival.top1 or 0))
        found.append(Ratio(Place(model), Place(size, "srep")))
    return found


def order(table: int, device: str, models: tuple[str, ...] = ()) -> list[Ratio]:
    """latency(slow) / latency(fast), for every pair of rows that differs by more than 2 %."""
    rows = [row for row in _rows(table, device) if not models or row.model in models]
    rows.sort(key=lambda row: row.latency_ms or 0)
    every = (
        Ratio(_place(slow), _place(fast), table, device)
        for fast, slow in itertools.combinations(rows, 2)
    )
    return [pair for pair in every if (pair.reported() or 0) > BEYOND]


def chain(
    table: int,
    device: str,
    *places: tuple[str, str],
    field: Literal["latency_ms", "throughput_img_s"] = "latency_ms",
) -> str:
    """The printed numbers of models in forms, in this order: `11.9 → 8.5 ms`."""
    rows = [paper.find(table, device, *place) for place in places]
    unit = "ms" if field == "latency_ms" else "img/s"
    return " → ".join(row.printed[field] for row in rows if row) + f" {unit}"


def _rows(table: int, device: str) -> list[Reported]:
    """The table's rows of a device that have a latency."""
    found = (row for row in paper.reported() if (row.table, row.device) == (table, device))
    return [row for row in found if row.latency_ms]


def _rivals() -> Iterator[Reported]:
    """The networks of Table 4 other than RepNeXt, re-parameterised where the paper does so."""
    by_model = {row.model: row for row in _rows(4, "a100") if not row.model.startswith(OURS)}
    yield from by_model.values()


def _place(row: Reported) -> Place:
    return Place(row.model, row.form, resolution=row.input_size)
