"""Claims about parameters, FLOPs and memory."""

from __future__ import annotations

import itertools
from typing import Literal

from bench.report.claims.claim import CHANGE, FASTER, SHARE, Claim, Quote
from bench.report.claims.evidence import Place
from bench.report.claims.memory import Moved, Peak, Weights
from bench.report.claims.pairs import SIZES, UNITS, T
from bench.report.claims.quantities import Count, Same, Zeros
from bench.report.tables.layouts import LATENCY_BATCH, THROUGHPUT_BATCH

FIELDS: tuple[Literal["params", "macs"], ...] = ("params", "macs")
BATCHES = (LATENCY_BATCH, THROUGHPUT_BATCH)
WEIGHTS_TOO = "Merging nearly doubles the weights; leaving them out favours the claim. "
CPU_PEAK = "The peak on a CPU is not used: most of it is left over from building the network."
NO_LESS = 1 / 1.02  # at most 2 % slower counts as equal


def claims() -> tuple[Claim, ...]:
    """The claims of this file."""
    return (*_sizes(), _zeros(), *_footprints(), _access(), _training(), *_added())


def _sizes() -> tuple[Claim, ...]:
    return (
        Claim(
            number=1,
            title="Full re-parameterisation adds at most 86 % to parameters and FLOPs",
            quote=Quote(
                "Sec. 4.1",
                "the number of parameters and FLOPs of RepNeXt will increase by at most 86%",
            ),
            where="Sec. 4.1 on Tables 2–4",
            said="at most 86 %",
            kind="none",
            quantities=[*_counts(2, *UNITS[:2]), *_counts(4, *SIZES), *_counts(3, *UNITS)[1::2]],
            scale=CHANGE,
            sized=False,
            edge=1 / 1.865,
            note="The claim holds if no increase rounds to more than 86 %. The paper's FLOPs are "
            "our MACs. We count MACs at 224 pixels. At the 64 pixels of Table 3 they grow "
            "slightly less, because the unchanged head has a larger share.",
        ),
        Claim(
            number=2,
            title="Merging shortcuts adds “a very small number” of parameters",
            quote=Quote(
                "Sec. 6",
                "at the cost of growing a very small number of network parameters (high sparsity "
                "parameters)",
            ),
            where="Sec. 6",
            said="very small",
            kind="none",
            quantities=[Count(model, "rrep", "srep", "params", 4) for model in SIZES],
            scale=CHANGE,
            sized=False,
            edge=1 / 1.1,
            note="We take “very small” as at most 10 %. Nearly all added parameters are zero "
            "(claim 3), but dense storage and dense products gain nothing from that. All our "
            "backends and the paper's FLOPs are dense.",
        ),
    )


def _zeros() -> Claim:
    return Claim(
        number=3,
        title="The parameters that merging shortcuts adds are extremely sparse",
        quote=Quote(
            "Sec. 4.1",
            "The additional parameters introduced by the shortcut re-parameterization are "
            "extremely sparse",
        ),
        where="Secs. 4.1, 6",
        said="extremely",
        kind="any",
        quantities=[Zeros(model) for model in SIZES],
        scale=SHARE,
        edge=0.9,
        note="We take “extremely” as more than 90 % zeros among the added parameters.",
    )


def _counts(table: int, *models: str) -> list[Count]:
    """For each model the ratio of parameters, then the ratio of MACs."""
    every = itertools.product(models, FIELDS)
    return [Count(model, "train", "srep", field, table) for model, field in every]


def _footprints() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"{branches} increase the memory footprint: peak without weights",
            quote=quote,
            where=where,
            said="no number",
            kind="gpu",
            quantities=[Peak(model, before, after, batch) for model in SIZES for batch in BATCHES],
            note=f"The peak of torch's allocator minus the weights, {ratio}, at batch 1 and "
            f"128. {more}{CPU_PEAK}",
        )
        for number, branches, quote, where, before, after, ratio, more in (
            (
                4,
                "The RepUnit's branches",
                Quote("Sec. 3.2", "Multiple branches increase the memory footprint"),
                *("Sec. 3.2", "train", "rrep", "train / rRep", ""),
            ),
            (
                5,
                "Shortcuts",
                Quote("Sec. 1", "shortcut branches both increase memory footprint"),
                *("Secs. 1, 3.2", "rrep", "srep", "rRep / sRep", WEIGHTS_TOO),
            ),
        )
    )


def _access() -> Claim:
    return Claim(
        number=6,
        title="Merging shortcuts improves memory access: operators move fewer bytes",
        quote=Quote("Sec. 3.2", "This conversion improves memory access"),
        where="Highlights, Secs. 1, 3.2, 6",
        said="no number",
        kind="any",
        quantities=[
            Moved(model, "rrep", "srep", weights) for model in SIZES for weights in (True, False)
        ],
        note="We count the bytes that all operators read and write for one image, rRep / sRep, "
        "with and without weights; an addition reads two tensors. Both counts must fall by "
        "more than 2 %. Cache misses and access patterns were not measured.",
    )


def _training() -> Claim:
    return Claim(
        number=7,
        title="Which RepUnit is trained does not matter to inference",
        quote=Quote("Sec. 3.1", "although it does not affect the inference speed"),
        where="Sec. 3.1, Tables 2, 5",
        said="no effect",
        kind="any",
        quantities=[
            Same(Place(UNITS[0], "srep"), Place(T, "srep"), 2),
            Same(Place(UNITS[1], "srep"), Place(T, "srep"), 2),
            Same(Place("shortcut_act_t", "srep"), Place(T, "srep"), 5),
        ],
        edge=NO_LESS,
        note="Our value is 1 if both networks are identical layer by layer after merging, else "
        "0. The value from the paper's tables is the ratio of the two latencies.",
    )


def _added() -> tuple[Claim, ...]:
    occupy = Quote(
        "Sec. 4.1",
        "the extra parameters brought by the shortcut re-parameterization will occupy memory",
    )
    return (
        Claim(
            number=58,
            title="The parameters that merging shortcuts adds occupy memory: bytes of weights",
            quote=occupy,
            where="Sec. 4.1, Table 4",
            said="no number",
            kind="none",
            quantities=[Weights(model, "rrep", "srep") for model in SIZES],
            scale=FASTER,
            sized=False,
            note="Bytes of the weights in fp32, sRep / rRep − 1. The value from the paper's table "
            "is the ratio of the parameters. Claim 2 calls the same increase “very small”.",
        ),
        Claim(
            number=59,
            title="The parameters that merging shortcuts adds occupy memory: peak with weights",
            quote=occupy,
            where="Sec. 4.1",
            said="no number",
            kind="gpu",
            quantities=[
                Peak(model, "srep", "rrep", batch, weights=True)
                for model in SIZES
                for batch in BATCHES
            ],
            note="The peak of torch's allocator with the weights, sRep / rRep, at batch 1 and 128. "
            f"This and claim 5 can both hold: sRep needs less beside its weights. {CPU_PEAK}",
        ),
    )
