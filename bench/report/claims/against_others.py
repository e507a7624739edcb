"""Claims that compare RepNeXt with other networks."""

from __future__ import annotations

from bench.report.claims import pairs
from bench.report.claims.claim import FASTER, Claim, Kind
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import T, chain
from bench.report.claims.quantities import Ratio

CONVNEXT = ("convnext_t", "convnext_s", "convnext_b")
EFFICIENTNET = ("efficientnet_b3", "efficientnet_b4", "efficientnet_b5")
TABLE_6: tuple[tuple[str, Kind, str], ...] = (
    ("a GPU", "gpu", "a100"),
    ("a CPU", "cpu", "xeon_8260"),
    ("an edge board", "edge", "orin"),
)
FASTEST = {"gpu": "srep", "cpu": "rrep", "edge": "srep"}  # RepNeXt-u3-T's fastest form, Table 6
LEADS = {
    "gpu": "sRep has the lowest GPU latency",
    "cpu": "rRep has the leading CPU latency",
    "edge": "sRep has the lowest edge latency",
}

ONE_PAIR = (
    "A single reversed pair refutes the whole order. The number of reversed pairs says more than "
    "the verdict."
)


def groups() -> dict[str, tuple[Claim, ...]]:
    """The claims of this file by their heading in `claims.md`."""
    return {
        "Against other networks": (
            *_averages(),
            *_families(),
            *_leads(),
            *_trade_offs(),
            *_orders(),
        )
    }


def _averages() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            title=f"RepNeXt is faster than {name} by {percent} % on average",
            where="Abstract, Sec. 4.1, Table 4",
            said=f"+{percent} %",
            kind="gpu",
            quantities=pairs.against(rivals),
            scale=FASTER,
            rule="mean",
            size=1 + (percent - 0.5) / 100,
            note=f"The mean of latency of {name} / latency of sRep − 1, over {over}.",
        )
        for name, percent, rivals, over in (
            ("ConvNeXt", 62, CONVNEXT, "sizes T, S and B"),
            ("EfficientNet", 148, EFFICIENTNET, "B3, B4, B5 against T, S, B"),
        )
    )


def _families() -> tuple[Claim, ...]:
    return (
        Claim(
            title="RepNeXt is faster than most vision transformers",
            where="Abstract, Sec. 1, Table 4",
            said="“a lot”",
            kind="gpu",
            quantities=pairs.transformers(),
            rule="most",
            sized=False,
            tally=True,
            note="Each transformer is compared with sRep of the smallest size that is at least as "
            "accurate in Table 4. The paper's “a lot” gives no number; we require more than 2 %.",
        ),
        Claim(
            title="RepVGG-B1 is faster than RepNeXt; RepLKNet and MaxViT are slower",
            where="Sec. 4.1, Table 4",
            said="no number",
            kind="gpu",
            quantities=[
                Ratio(Place(T, "srep"), Place("repvgg_b1", "rrep")),
                Ratio(Place("replknet_31b", "rrep"), Place("repnext_u3_b", "srep")),
                Ratio(Place("maxvit_t"), Place("repnext_u3_b", "srep")),
            ],
            note="RepVGG is compared with sRep of size T. RepLKNet and MaxViT are compared with "
            "size B, which is about as accurate.",
        ),
    )


def _leads() -> tuple[Claim, ...]:
    every_row = "Compared with every other row of Table 6, whatever its accuracy."
    return (
        Claim(
            title="SOTA inference speed: every other network of Table 4 is slower",
            where="Sec. 4.1, Table 4",
            said="SOTA",
            kind="gpu",
            quantities=pairs.rivals(),
            sized=False,
            tally=True,
            note="sRep of size T is compared with all other networks, whatever their accuracy.",
        ),
        *(
            Claim(
                title=LEADS[kind],
                where="Sec. 4.3, Table 6",
                said=chain(6, device, (T, FASTEST[kind])),
                kind=kind,
                quantities=pairs.all_others(6, device, FASTEST[kind]),
                sized=False,
                tally=True,
                note=every_row,
            )
            for _, kind, device in TABLE_6
        ),
        Claim(
            title="rRep has the leading GPU throughput",
            where="Sec. 4.3, Table 6",
            said="2052 img/s",
            kind="gpu",
            quantities=pairs.highest_throughput(),
            sized=False,
            tally=True,
            note=f"2052 img/s is the throughput of rRep-fc (Table 4). {every_row}",
        ),
    )


def _trade_offs() -> tuple[Claim, ...]:
    return (
        Claim(
            title="A better accuracy–speed trade-off: no equally accurate network is as fast",
            where="Abstract, Sec. 4.1, Figure 1",
            said="better",
            kind="gpu",
            quantities=pairs.as_accurate(),
            sized=False,
            tally=True,
            note="sRep of each size is compared with every network of Table 4 that has at least "
            "the same top-1. Accuracies are the paper's.",
        ),
        *(
            Claim(
                title=f"Faster than ConvNeXt-T, which is as accurate, on {on}",
                where="Abstract, Secs. 4.3, 6, Table 6",
                said="excellent or better",
                kind=kind,
                quantities=[Ratio(Place("convnext_t"), Place(T, FASTEST[kind]), 6, device)],
                note=f"RepNeXt-u3-T runs in the form that is fastest on {on} in Table 6. "
                "ConvNeXt-T is the only network in that table with the same top-1.",
            )
            for on, kind, device in TABLE_6
        ),
    )


def _orders() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            title=f"The order of latencies on {on}, every pair of rows",
            where="Table 6",
            said="as printed",
            kind=kind,
            quantities=pairs.order(6, device),
            sized=False,
            tally=True,
            note=f"All pairs whose latencies differ by more than 2 % in the table. {ONE_PAIR}",
        )
        for on, kind, device in TABLE_6
    )
