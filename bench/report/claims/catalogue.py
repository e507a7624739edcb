"""Every claim of the paper about efficiency, grouped by subject.

Sections, tables and figures are the paper's. Claims about accuracy and training are not included.
"""

from __future__ import annotations

import functools
import itertools
from typing import Literal

from bench.report.claims import against_others, where_time_goes
from bench.report.claims.claim import CHANGE, SHARE, Claim, Kind
from bench.report.claims.evidence import Place
from bench.report.claims.memory import Moved, Peak
from bench.report.claims.pairs import SIZES, T, chain, steps, throughputs
from bench.report.claims.quantities import Count, Ratio, Same, Spread, Zeros
from bench.report.tables.layouts import LATENCY_BATCH, THROUGHPUT_BATCH

U1, U2, S, B = "repnext_u1_t", "repnext_u2_t", *SIZES[1:]
ABLATED = ("shortcut_act_t", "shortcut_act_s", "shortcut_act_b", *SIZES)
DEVICES: tuple[tuple[str, Kind, int, str], ...] = (  # the table with most networks
    ("a GPU", "gpu", 4, "a100"),
    ("a CPU", "cpu", 6, "xeon_8260"),
    ("an edge board", "edge", 6, "orin"),
)
FIELDS: tuple[Literal["params", "macs"], ...] = ("params", "macs")
WEIGHTS_TOO = "Merging nearly doubles the weights; leaving them out favours the claim. "
NO_LESS = 1 / 1.02  # at most 2 % slower counts as equal


@functools.lru_cache(maxsize=1)
def groups() -> dict[str, tuple[Claim, ...]]:
    """All claims by heading."""
    return {
        "Size and memory": (*_sizes(), *_memory(), _training()),
        "Re-parameterisation": (*_full(), *_regular(), *_merged(), _sparse(), *_variance()),
        "Throughput": _throughput(),
        **against_others.groups(),
        **where_time_goes.groups(),
    }


def claims() -> list[Claim]:
    """All claims in order; a claim's number is its index here + 1."""
    return [claim for group in groups().values() for claim in group]


def _sizes() -> tuple[Claim, ...]:
    return (
        Claim(
            title="Full re-parameterisation adds at most 86 % to parameters and FLOPs",
            where="Sec. 4.1 on Tables 2–4",
            said="at most 86 %",
            kind="none",
            quantities=[*_counts(2, U1, U2), *_counts(4, *SIZES), *_counts(3, U1, U2, T)[1::2]],
            scale=CHANGE,
            sized=False,
            edge=1 / 1.865,
            note="The claim holds if no increase rounds to more than 86 %. The paper's FLOPs are "
            "our MACs. We count MACs at 224 pixels. At the 64 pixels of Table 3 they grow "
            "slightly less, because the unchanged head has a larger share.",
        ),
        Claim(
            title="Merging shortcuts adds “a very small number” of parameters",
            where="Sec. 6",
            said="very small",
            kind="none",
            quantities=[Count(model, "rrep", "srep", "params", 4) for model in SIZES],
            scale=CHANGE,
            sized=False,
            edge=1 / 1.1,
            note="We take “very small” as at most 10 %. Nearly all added parameters are zero (next "
            "claim), but dense storage and dense products gain nothing from that. All our backends "
            "and the paper's FLOPs are dense.",
        ),
        Claim(
            title="The parameters that merging shortcuts adds are extremely sparse",
            where="Secs. 4.1, 6",
            said="extremely",
            kind="any",
            quantities=[Zeros(model) for model in SIZES],
            scale=SHARE,
            edge=0.9,
            note="We take “extremely” as more than 90 % zeros among the added parameters.",
        ),
    )


def _counts(table: int, *models: str) -> list[Count]:
    """For each model the ratio of parameters, then the ratio of MACs."""
    every = itertools.product(models, FIELDS)
    return [Count(model, "train", "srep", field, table) for model, field in every]


def _memory() -> tuple[Claim, ...]:
    return (
        *(
            Claim(
                title=f"{branches} increase the memory footprint: peak without weights",
                where=where,
                said="no number",
                kind="gpu",
                quantities=[
                    Peak(model, before, after, batch)
                    for model in SIZES
                    for batch in (LATENCY_BATCH, THROUGHPUT_BATCH)
                ],
                note=f"The peak of torch's allocator minus the weights, {ratio}, at batch 1 and "
                f"128. {more}The peak on a CPU is not used: most of it is left over from building "
                "the network.",
            )
            for branches, where, before, after, ratio, more in (
                ("The RepUnit's branches", "Sec. 3.2", "train", "rrep", "train / rRep", ""),
                ("Shortcuts", "Secs. 1, 3.2", "rrep", "srep", "rRep / sRep", WEIGHTS_TOO),
            )
        ),
        Claim(
            title="Merging shortcuts improves memory access: operators move fewer bytes",
            where="Highlights, Secs. 1, 3.2, 6",
            said="no number",
            kind="any",
            quantities=[
                Moved(model, "rrep", "srep", weights)
                for model in SIZES
                for weights in (True, False)
            ],
            note="We count the bytes that all operators read and write for one image, rRep / sRep, "
            "with and without weights; an addition reads two tensors. Both counts must fall by "
            "more than 2 %. Cache misses and access patterns were not measured.",
        ),
    )


def _training() -> Claim:
    return Claim(
        title="Which RepUnit is trained does not matter to inference",
        where="Sec. 3.1, Tables 2, 5",
        said="no effect",
        kind="any",
        quantities=[
            Same(Place(U1, "srep"), Place(T, "srep"), 2),
            Same(Place(U2, "srep"), Place(T, "srep"), 2),
            Same(Place("shortcut_act_t", "srep"), Place(T, "srep"), 5),
        ],
        edge=NO_LESS,
        note="Our value is 1 if both networks are identical layer by layer after merging, else "
        "0. The value from the paper's tables is the ratio of the two latencies.",
    )


def _full() -> tuple[Claim, ...]:
    low = [Ratio(Place(m, "train", 1, 64), Place(m, "srep", 1, 64), 3) for m in (U1, U2, T)]
    high = [Ratio(Place(m, "train"), Place(m, "srep"), 2) for m in (U1, U2, T)]
    return (
        Claim(
            title="Full re-parameterisation cuts latency by at least 54 %",
            where="Sec. 4.1 on Tables 2–4",
            said="at least −54 %",
            kind="gpu",
            quantities=[*high, *low, *steps("train", "srep")[1:]],
            scale=CHANGE,
            size=1 / (1 - 0.535),
            note="The paper's tables contradict its sentence. In Table 2, "
            f"{chain(2, 'a100', (T, 'train'), (T, 'srep'))} leaves 54 % of the latency; perhaps "
            "the paper meant this.",
        ),
        Claim(
            title="Full re-parameterisation is faster in every size, with RepUnit or without",
            where="Table 5",
            said=chain(5, "a100", (T, "train"), (T, "srep")),
            kind="gpu",
            quantities=[Ratio(Place(m, "train"), Place(m, "srep"), 5) for m in ABLATED],
        ),
    )


def _regular() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            title=f"Regular re-parameterisation alone speeds up {on}",
            where="Sec. 4.1, Table 4" if table == 4 else "Sec. 4.3, Table 6",
            said=chain(table, device, (T, "train"), (T, "rrep")),
            kind=kind,
            quantities=steps("train", "rrep", table, device),
        )
        for on, kind, table, device in DEVICES
    )


def _merged() -> tuple[Claim, ...]:
    return (
        Claim(
            title="Merging the shortcuts too speeds up a GPU “substantially”",
            where="Highlights, Sec. 3.2, Table 4",
            said=chain(4, "a100", (T, "rrep"), (T, "srep")),
            kind="gpu",
            quantities=steps("rrep", "srep"),
            note="sRep has 1.8 times the MACs of rRep. If the claim holds, MACs do not predict "
            "latency, as Sec. 3.2 says.",
        ),
        Claim(
            title="Merging the shortcuts too speeds up an edge board",
            where="Sec. 4.3, Table 6",
            said=chain(6, "orin", (T, "rrep"), (T, "srep")),
            kind="edge",
            quantities=steps("rrep", "srep", 6, "orin"),
        ),
        Claim(
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
        title="The sparse parameters of merged shortcuts do not slow inference significantly",
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
            title=title,
            where="Sec. 4.2 (5), Table 5",
            said="smaller",
            kind="gpu",
            quantities=[Spread(Place(m, "train"), Place(m, "srep"), relative) for m in ABLATED],
            note=note,
        )
        for title, relative, note in (
            (
                "Re-parameterisation steadies latency: its standard deviation falls",
                False,
                "Standard deviation of a process's iterations, train / sRep. It usually falls with "
                "the mean, so a network that is only faster also passes.",
            ),
            (
                "Re-parameterisation steadies latency: its coefficient of variation falls",
                True,
                "Standard deviation / mean of a process's iterations, train / sRep. This tests the "
                "paper's “less external interference”.",
            ),
        )
    )


def _throughput() -> tuple[Claim, ...]:
    return (
        Claim(
            title="rRep-fc (1×1 convolutions as fully connected layers) has the highest throughput",
            where="Sec. 4.1, Table 4",
            said="2052 against 1150",
            kind="gpu",
            quantities=throughputs("rrep", "rrep_fc"),
            note="We compare rRep-fc with rRep, which has the highest throughput of RepNeXt's "
            "other forms in the table. The claim “leading GPU throughput” below compares it with "
            "other networks.",
        ),
        *(
            Claim(
                title=f"Merging the shortcuts costs throughput on {on}",
                where=f"Secs. 3.2, 4.1, 5, Table {table}",
                said="sacrifices",
                kind=kind,
                quantities=throughputs("srep", "rrep", table, device),
            )
            for on, kind, table, device in DEVICES
        ),
    )
