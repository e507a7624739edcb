"""Claims about what re-parameterisation gains at batch 1, and about the three RepUnits."""

from __future__ import annotations

import itertools

from bench.report.claims.claim import BEYOND, CHANGE, FASTER, Claim, Kind, Quote
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import SIZES, UNITS, T, chain, steps
from bench.report.claims.quantities import Ratio, Spread
from bench.report.claims.size_and_memory import NO_LESS

ABLATED = ("shortcut_act_t", "shortcut_act_s", "shortcut_act_b", *SIZES)
DEVICES: tuple[tuple[str, Kind, int, str], ...] = (  # the table with most networks
    ("a GPU", "gpu", 4, "a100"),
    ("a CPU", "cpu", 6, "xeon_8260"),
    ("an edge board", "edge", 6, "orin"),
)
RESOLUTIONS = ((2, 224), (3, 64))  # of the tables with all three RepUnits
SLIGHT = 1.1  # a larger ratio is not a slight difference


def claims() -> tuple[Claim, ...]:
    """The claims of this file."""
    return (*_full(), *_regular(), *_merged(), _sparse(), *_variance(), _slight(), _cost())


def _full() -> tuple[Claim, ...]:
    high, low = (
        [Ratio(Place(m, "train", 1, pixels), Place(m, "srep", 1, pixels), table) for m in UNITS]
        for table, pixels in RESOLUTIONS
    )
    every = [*high, *low, *steps("train", "srep")[1:]]
    cut = CHANGE.span([value for each in every if (value := each.reported())])
    return (
        Claim(
            number=8,
            title="Full re-parameterisation cuts latency by at least 54 %, read as a speed-up",
            quote=Quote("Sec. 4.1", "its inference latency will decrease by at least 54%"),
            where="Sec. 4.1 on Tables 2–4",
            said="at least 54 %",
            kind="gpu",
            quantities=every,
            scale=FASTER,
            size=1 + 0.535,
            note="The sentence has two readings. Read as a speed-up, latency before / after − 1, "
            f"the paper's tables support it: {_chain(SIZES[2])} is the smallest, +54.5 %. Read as "
            "a change of latency, after / before − 1, they contradict it: they have "
            f"{cut}. The verdict is by the first reading, because +62 % and +148 % (claims 23 and "
            "24) are speed-ups too.",
        ),
        Claim(
            number=9,
            title="Full re-parameterisation is faster in every size, with RepUnit or without",
            where="Table 5",
            said=chain(5, "a100", (T, "train"), (T, "srep")),
            kind="gpu",
            quantities=[Ratio(Place(m, "train"), Place(m, "srep"), 5) for m in ABLATED],
        ),
    )


def _chain(model: str) -> str:
    return chain(4, "a100", (model, "train"), (model, "srep"))


def _regular() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"Regular re-parameterisation alone speeds up {on}",
            quote=Quote(
                "Sec. 1",
                "RepUnit is re-parameterized into a single conv layer in the inference time to "
                "reduce the inference burden",
            ),
            where=f"Secs. 1, {'4.1' if table == 4 else '4.3'}, Table {table}",
            said=chain(table, device, (T, "train"), (T, "rrep")),
            kind=kind,
            quantities=steps("train", "rrep", table, device),
        )
        for number, (on, kind, table, device) in enumerate(DEVICES, 10)
    )


def _merged() -> tuple[Claim, ...]:
    return (
        Claim(
            number=13,
            title="Merging the shortcuts too speeds up a GPU “substantially”",
            quote=Quote(
                "Highlights",
                "shortcut re-parameterization to eliminate the shortcut branches, which can "
                "substantially accelerate a network’s inference",
            ),
            where="Highlights, Sec. 3.2, Table 4",
            said=chain(4, "a100", (T, "rrep"), (T, "srep")),
            kind="gpu",
            quantities=steps("rrep", "srep"),
            note="sRep has 1.8 times the MACs of rRep. If the claim holds, MACs do not predict "
            "latency, as Sec. 3.2 says.",
        ),
        Claim(
            number=14,
            title="Merging the shortcuts too speeds up an edge board",
            quote=Quote("Sec. 4.3", "the lowest Edge latency at 9.3 milliseconds"),
            where="Sec. 4.3, Table 6",
            said=chain(6, "orin", (T, "rrep"), (T, "srep")),
            kind="edge",
            quantities=steps("rrep", "srep", 6, "orin"),
        ),
        Claim(
            number=15,
            title="Merging the shortcuts too makes a CPU slower than rRep, and than train",
            where="Table 6",
            said=chain(6, "xeon_8260", (T, "rrep"), (T, "srep")),
            kind="cpu",
            quantities=[
                *steps("srep", "rrep", 6, "xeon_8260"),
                *steps("srep", "train", 6, "xeon_8260"),
            ],
            note="The paper's table shows this; its text does not mention it.",
        ),
    )


def _sparse() -> Claim:
    return Claim(
        number=16,
        title="The sparse parameters of merged shortcuts do not slow inference significantly",
        quote=Quote(
            "Sec. 4.1",
            "extremely sparse and therefore do not significantly impact inference efficiency on "
            "modern devices optimized for sparse operations",
        ),
        where="Sec. 4.1",
        said="not significantly",
        kind="gpu",
        quantities=steps("rrep", "srep"),
        edge=NO_LESS,
        sized=False,
        only_refutes=True,
        note="The claim is refuted if sRep is slower than rRep by more than 2 %. Otherwise it "
        "stays undecided: the parameters may cost time, but less than the merged shortcuts save. "
        "The paper limits the claim to “devices optimized for sparse operations”; no backend here "
        "skips zeros. The paper says the opposite about throughput (Sec. 5).",
    )


def _variance() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=title,
            quote=Quote(
                "Sec. 4.2 (5)",
                "Structural re-parameterization facilitates stable inference (smaller latency "
                "variance) since a cleaner network means less external interference",
            ),
            where="Sec. 4.2 (5), Table 5",
            said="smaller",
            kind="gpu",
            quantities=[Spread(Place(m, "train"), Place(m, "srep"), relative) for m in ABLATED],
            note=note,
        )
        for number, title, relative, note in (
            (
                17,
                "Re-parameterisation steadies latency: its standard deviation falls",
                False,
                "Standard deviation of a process's iterations, train / sRep. It usually falls with "
                "the mean, so a network that is only faster also passes.",
            ),
            (
                18,
                "Re-parameterisation steadies latency: its coefficient of variation falls",
                True,
                "Standard deviation / mean of a process's iterations, train / sRep. This tests the "
                "paper's “less external interference”.",
            ),
        )
    )


def _slight() -> Claim:
    return Claim(
        number=52,
        title="The latencies of the three RepUnits as trained differ slightly",
        quote=Quote(
            "Sec. 4.1",
            "The fluctuations in the metrics of the three versions of RepNeXt are relatively "
            "slight",
        ),
        where="Sec. 4.1, Tables 2, 3",
        said="relatively slight",
        kind="gpu",
        quantities=_as_trained(*itertools.permutations(UNITS, 2)),
        edge=1 / SLIGHT,
        sized=False,
        tally=True,
        note="We take “slight” as at most 10 %, as in claim 2, and compare every pair both "
        "ways. Parameters and FLOPs differ by at most 5 % in the tables. Merged, the three are "
        "the same network (claim 7).",
    )


def _cost() -> Claim:
    u1, u2, u3 = UNITS
    ordered = _as_trained((u3, u1), (u2, u3), (u2, u1))
    return Claim(
        number=53,
        title="RepUnit1 costs least as trained and RepUnit2 most: u1 < u3 < u2",
        quote=Quote(
            "Sec. 3.1",
            "RepUnit2 has more parameters and a larger width, which will increase the training "
            "cost",
        ),
        where="Sec. 3.1, Tables 2, 3",
        said="no number",
        kind="gpu",
        quantities=[pair for pair in ordered if (pair.reported() or 0) > BEYOND],
        sized=False,
        tally=True,
        note="As inference: this is what Tables 2 and 3 print; claims 65 to 69 are about the "
        "training step. We compare all pairs whose latencies differ by more than 2 % in the "
        "table. In Table 3, RepUnit2 and RepUnit3 differ by less.",
    )


def _as_trained(*pairs: tuple[str, str]) -> list[Ratio]:
    """latency(slow) / latency(fast) as trained, of each pair in Table 2, then in Table 3."""
    return [
        Ratio(Place(slow, "train", 1, pixels), Place(fast, "train", 1, pixels), table)
        for table, pixels in RESOLUTIONS
        for slow, fast in pairs
    ]
