"""Claims about throughput, at batch 128."""

from __future__ import annotations

from bench.report.claims import pairs
from bench.report.claims.claim import Claim, Quote
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import SIZES, T, throughputs
from bench.report.claims.quantities import AcrossBatches, Ratio
from bench.report.claims.reparameterisation import DEVICES

OPTIMAL = Quote(
    "Sec. 4.1",
    "RepNeXt achieves optimal throughput with regular re-parameterization and conversion of the "
    "pointwise conv back to the fully connected layer",
)


def claims() -> tuple[Claim, ...]:
    """The claims of this file."""
    return (*_highest(), *_regular(), _fully_connected(), *_merged(), _batch())


def _highest() -> tuple[Claim, ...]:
    return (
        Claim(
            number=19,
            title="rRep-fc (1×1 convolutions as fully connected layers) has the highest throughput",
            quote=OPTIMAL,
            where="Sec. 4.1, Table 4",
            said="2052 against 1150",
            kind="gpu",
            quantities=throughputs("rrep", "rrep_fc"),
            note="We compare rRep-fc with rRep, which has the highest throughput of RepNeXt's "
            "other forms in the table. Claims 31 and 47 compare it with other networks.",
        ),
        Claim(
            number=47,
            title="rRep-fc has the highest throughput of the networks of its size",
            quote=OPTIMAL,
            where="Sec. 4.1, Table 4",
            said="optimal",
            kind="gpu",
            quantities=pairs.of_its_size(),
            sized=False,
            tally=True,
            note="We take “optimal” as the highest of its size, and compare each size with every "
            "network of Table 4 that has at most 25 % more or fewer parameters. A difference of "
            "2 % or less counts as none.",
        ),
    )


def _regular() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"Regular re-parameterisation raises throughput on {on}",
            quote=OPTIMAL if kind == "gpu" else None,
            where="Sec. 4.1, Table 4" if kind == "gpu" else f"Table {table}",
            said=_printed(table, device, "train", "rrep"),
            kind=kind,
            quantities=throughputs("train", "rrep", table, device),
        )
        for number, (on, kind, table, device) in enumerate(DEVICES, 48)
    )


def _printed(table: int, device: str, *forms: str) -> str:
    return pairs.chain(table, device, *((T, form) for form in forms), field="throughput_img_s")


def _fully_connected() -> Claim:
    return Claim(
        number=51,
        title="Fully connected layers raise ConvNeXt's throughput over pointwise convolutions",
        quote=Quote(
            "Sec. 4.1",
            "pointwise conv will result in lower throughput than the fully connected layer",
        ),
        where="Secs. 4.1, 4.2 (1)",
        said="lower",
        kind="gpu",
        quantities=[Ratio(Place("lc2pwconv_t"), Place("convnext_t"), 5).batched()],
        note="ConvNeXt-T against Lc2pwconv-T. Table 5 prints no throughput. In Table 4, rRep-fc "
        "against rRep supports the sentence for RepNeXt (claim 19).",
    )


def _merged() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=f"Merging the shortcuts costs throughput on {on}",
            quote=Quote(
                "Sec. 5",
                "the additional sparse weights introduced by the shortcut re-parameterization "
                "sacrifice throughput for faster inference",
            ),
            where=f"Secs. 3.2, 4.1, 5, Table {table}",
            said="sacrifices",
            kind=kind,
            quantities=throughputs("srep", "rrep", table, device),
        )
        for number, (on, kind, table, device) in enumerate(DEVICES, 20)
    )


def _batch() -> Claim:
    return Claim(
        number=64,
        title="Merged shortcuts are more suitable for batch 1 than for batch 128",
        quote=Quote("Sec. 5", "making RepNeXts more suitable for single-batch inference"),
        where="Sec. 5, Table 4",
        said="more suitable",
        kind="gpu",
        quantities=[AcrossBatches(Place(m, "rrep"), Place(m, "srep")) for m in SIZES],
        note="The speed of sRep relative to rRep at batch 1, divided by the same at batch 128. "
        "Above 1, merging gains more at batch 1, or costs less. It can hold even if sRep is slower "
        "at both batches.",
    )
