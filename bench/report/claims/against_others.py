"""Claims that compare RepNeXt with other networks."""

from __future__ import annotations

from bench.report.claims import pairs
from bench.report.claims.claim import FASTER, Claim, Kind, Quote
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
LEAD_SENTENCES = {
    "gpu": "achieving the lowest GPU latency at 6.4 milliseconds",
    "cpu": "its leading CPU latency of 36.7 milliseconds",
    "edge": "the lowest Edge latency at 9.3 milliseconds",
}
WOOF_AND_CIFAR = (("ImageWoof", 2, 224), ("Cifar100", 3, 64))  # dataset, table, pixels
EVERY_ROW = "Compared with every other row of Table 6, whatever its accuracy."
ONE_PAIR = (
    "A single reversed pair refutes the whole order. The number of reversed pairs says more than "
    "the verdict."
)


def claims() -> tuple[Claim, ...]:
    """The claims of this file."""
    return (
        *_averages(),
        _transformers(),
        _other_works(),
        *_leads(),
        _throughput(),
        *_most(),
        *_trade_offs(),
        *_rivals(),
        *_orders(),
    )


def _averages() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"RepNeXt is faster than {name} by {percent} % on average",
            quote=Quote(
                "Abstract", "surpasses EfficientNet by 148% and ConvNeXt by 62% on average"
            ),
            where="Abstract, Sec. 4.1, Table 4",
            said=f"+{percent} %",
            kind="gpu",
            quantities=pairs.against(rivals),
            scale=FASTER,
            rule="mean",
            size=1 + (percent - 0.5) / 100,
            note=f"The mean of latency of {name} / latency of sRep − 1, over {over}.",
        )
        for number, name, percent, rivals, over in (
            (23, "ConvNeXt", 62, CONVNEXT, "sizes T, S and B"),
            (24, "EfficientNet", 148, EFFICIENTNET, "B3, B4, B5 against T, S, B"),
        )
    )


def _transformers() -> Claim:
    return Claim(
        number=25,
        title="RepNeXt is faster than most vision transformers",
        quote=Quote(
            "Abstract", "the inference of RepNeXt is fast, which outperforms most ViTs a lot"
        ),
        where="Abstract, Sec. 1, Table 4",
        said="“a lot”",
        kind="gpu",
        quantities=pairs.transformers(),
        rule="most",
        sized=False,
        tally=True,
        note="Each transformer is compared with sRep of the smallest size that is at least as "
        "accurate in Table 4. The paper's “a lot” gives no number; we require more than 2 %.",
    )


def _other_works() -> Claim:
    small, large = Place(T, "srep"), Place("repnext_u3_b", "srep")
    repvgg_b2 = Ratio(large, pairs.rival("repvgg_b2"))
    return Claim(
        number=26,
        title="RepVGG-B1 and B2 are faster than RepNeXt; RepLKNet and MaxViT are slower",
        quote=Quote(
            "Sec. 4.1",
            "RepVGG sacrifices performance for faster speed […], and RepLKNet […] is the reverse",
        ),
        where="Sec. 4.1, Table 4",
        said="no number",
        kind="gpu",
        quantities=[
            Ratio(small, pairs.rival("repvgg_b1")),
            Ratio(small, pairs.rival("repvgg_b2")),
            Ratio(pairs.rival("replknet_31b"), large),
            Ratio(pairs.rival("maxvit_t"), large),
        ],
        note="RepVGG is compared with sRep of size T, which is more accurate. RepVGG-B2 is "
        "slower than that in the paper's table, so the sentence holds for RepVGG-B1 only; than "
        f"sRep of size B, RepVGG-B2 is {repvgg_b2.reported():.2f} times as fast. RepLKNet and "
        "MaxViT are compared with size B, which is about as accurate.",
    )


def _leads() -> tuple[Claim, ...]:
    return (
        Claim(
            number=27,
            title="SOTA inference speed: every other network of Table 4 is slower",
            quote=Quote("Sec. 4.1", "RepNeXt achieves the SOTA inference speed"),
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
                number=number,
                title=LEADS[kind],
                quote=Quote("Sec. 4.3", LEAD_SENTENCES[kind]),
                where="Sec. 4.3, Table 6",
                said=chain(6, device, (T, FASTEST[kind])),
                kind=kind,
                quantities=pairs.all_others(6, device, FASTEST[kind]),
                sized=False,
                tally=True,
                note=EVERY_ROW,
            )
            for number, (_, kind, device) in enumerate(TABLE_6, 28)
        ),
    )


def _throughput() -> Claim:
    return Claim(
        number=31,
        title="rRep has the leading GPU throughput",
        quote=Quote(
            "Sec. 4.3",
            "its leading CPU latency of 36.7 milliseconds and GPU throughput of 2052",
        ),
        where="Sec. 4.3, Table 6",
        said="2052 img/s",
        kind="gpu",
        quantities=pairs.highest_throughput(),
        sized=False,
        tally=True,
        note=f"2052 img/s is the throughput of rRep-fc (Table 4). {EVERY_ROW}",
    )


def _most() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"RepNeXt is faster than most networks on {on}",
            quote=Quote(
                "Sec. 1",
                "RepNeXt’s inference is noticeably faster than most SOTA models in a variety of "
                "practical application devices",
            ),
            where="Sec. 1, Table 6",
            said="noticeably",
            kind=kind,
            quantities=pairs.most(device, FASTEST[kind]),
            rule="most",
            sized=False,
            tally=True,
            note="Compared with the other four networks of Table 6, whatever their accuracy. "
            f"RepNeXt-u3-T runs in the form that is fastest on {on} in the table. The paper's "
            "“noticeably” gives no number; we require more than 2 %. Claim 27 compares on a GPU.",
        )
        for number, (on, kind, device) in enumerate(TABLE_6[1:], 60)
    )


def _trade_offs() -> tuple[Claim, ...]:
    return (
        Claim(
            number=32,
            title="A better accuracy–speed trade-off: no equally accurate network is as fast",
            quote=Quote("Sec. 4.1", "Overall, RepNeXt finds a better accuracy-speed trade-off"),
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
                number=number,
                title=f"Faster than ConvNeXt-T, which is as accurate, on {on}",
                quote=Quote(
                    "Sec. 4.3",
                    "RepNeXt shows excellent or better performance and efficiency on whichever "
                    "device it is used",
                ),
                where="Abstract, Secs. 4.3, 6, Table 6",
                said="excellent or better",
                kind=kind,
                quantities=[Ratio(Place("convnext_t"), Place(T, FASTEST[kind]), 6, device)],
                note=f"RepNeXt-u3-T runs in the form that is fastest on {on} in Table 6. "
                "ConvNeXt-T is the only network in that table with the same top-1.",
            )
            for number, (on, kind, device) in enumerate(TABLE_6, 33)
        ),
    )


def _rivals() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"RepNeXt is faster than ResNet50, ViT-B and ConvNeXt-T at {pixels} pixels",
            quote=Quote(
                "Sec. 6",
                "RepNeXt outperforms ResNet50, ConvNeXt-T, and ViT-B […], and the latency is "
                "reduced to 6.4 milliseconds",
            ),
            where=f"Sec. 6, Table {table}",
            said=pairs.chain(table, "a100", (T, "train"), (T, "srep")),
            kind="gpu",
            quantities=[
                Ratio(Place(rival, resolution=pixels), Place(T, "srep", resolution=pixels), table)
                for rival in ("resnet50", "vit_b", "convnext_t")
            ],
            note=f"sRep at the {pixels} pixels of {dataset}. RepNeXt-u1 and u2 merge into the same "
            "network (claim 7). The sentence compares accuracies; the comparison of latencies is "
            "from the table.",
        )
        for number, (dataset, table, pixels) in enumerate(WOOF_AND_CIFAR, 54)
    )


def _orders() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"The order of latencies on {on}, every pair of rows",
            where="Table 6",
            said="as printed",
            kind=kind,
            quantities=pairs.order(6, device),
            sized=False,
            tally=True,
            note=f"All pairs whose latencies differ by more than 2 % in the table. {ONE_PAIR}",
        )
        for number, (on, kind, device) in enumerate(TABLE_6, 36)
    )
