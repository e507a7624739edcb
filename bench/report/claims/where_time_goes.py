"""Claims about parts of a network: the ablation, Figure 5, and the precision."""

from __future__ import annotations

from bench.report.claims import pairs
from bench.report.claims.against_others import ONE_PAIR
from bench.report.claims.claim import SHARE, Claim
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import SIZES, T, chain
from bench.report.claims.quantities import Ratio
from bench.report.claims.shares import Gauge, Share

ABLATION = ("convnext_t", "lc2pwconv_t", "ln2bn_t", "shortcut_act_t", T)
MUCH = 0.05  # a larger share of the latency is “much”, or not negligible
MUCH_NOTE = "Figure 5 prints no numbers; we require more than 5 % of the latency. "


def groups() -> dict[str, tuple[Claim, ...]]:
    """The claims of this file by their heading in `claims.md`."""
    return {
        "From ConvNeXt to RepNeXt": _ablation(),
        "Where the time goes": (*_figure_5(), _utilisation()),
        "Precision": (_precision(),),
    }


def _ablation() -> tuple[Claim, ...]:
    convnext, convolved, normed = (Place(model) for model in ABLATION[:3])
    return (
        Claim(
            title="Pointwise convolutions as fully connected layers slow ConvNeXt",
            where="Secs. 1, 3.1, 4.2 (1), Table 5",
            said=chain(5, "a100", (ABLATION[0], "plain"), (ABLATION[1], "plain")),
            kind="gpu",
            quantities=[Ratio(convnext, convolved, 5)],
        ),
        Claim(
            title="BatchNorm is more efficient than LayerNorm",
            where="Secs. 1, 3.1, 4.2 (2), Table 5",
            said=chain(5, "a100", (ABLATION[1], "plain"), (ABLATION[2], "plain")),
            kind="gpu",
            quantities=[Ratio(convolved, normed, 5)],
            note="As in the paper's table, BatchNorm is not folded into the convolutions.",
        ),
        Claim(
            title="The order of latencies in the ablation, every pair of rows",
            where="Table 5",
            said="as printed",
            kind="gpu",
            quantities=pairs.order(5, "a100", ABLATION),
            sized=False,
            tally=True,
            note="Size T, before and after re-parameterisation: all pairs whose latencies differ "
            f"by more than 2 % in the table. {ONE_PAIR}",
        ),
    )


def _figure_5() -> tuple[Claim, ...]:
    convnext, train = Place("convnext_t"), Place(T, "train")
    return (
        Claim(
            title="LayerNorm and fully connected layers take much of ConvNeXt's latency",
            where="Sec. 1, Figure 5",
            said="“much”",
            kind="gpu",
            quantities=[Share(convnext, "layer norm"), Share(convnext, "fully connected")],
            scale=SHARE,
            edge=MUCH,
            note=MUCH_NOTE + "Fully connected layers replace 1×1 convolutions, so a large share "
            "alone does not show that they are slow; the step in Table 5 does.",
        ),
        Claim(
            title="Additions are not negligible in RepNeXt as trained",
            where="Sec. 1, Figure 5",
            said="no number",
            kind="gpu",
            quantities=[Share(train, "addition")],
            scale=SHARE,
            edge=MUCH,
            note=MUCH_NOTE + "We count the additions of branches and of shortcuts.",
        ),
        Claim(
            title="Branches are not negligible in RepNeXt as trained",
            where="Sec. 3.2, Figure 5",
            said="no number",
            kind="gpu",
            quantities=[Share(train, "depthwise or group conv", without="rrep")],
            scale=SHARE,
            edge=MUCH,
            note=MUCH_NOTE + "We count the time of depthwise convolutions in train minus their "
            "time in rRep, where the branches are merged.",
        ),
    )


def _utilisation() -> Claim:
    train, merged = Place(T, "train"), Place(T, "srep")
    return Claim(
        title="Re-parameterisation raises the utilisation of a GPU",
        where="Secs. 3.2, 4.1, Figure 5",
        said="no number",
        kind="gpu",
        quantities=[Gauge(train, merged, "sampled"), Gauge(train, merged, "sm_fill")],
        note="The paper does not define utilisation, so we require two counters to rise. One is "
        "the driver's counter: the share of time in which any kernel runs. The other is the share "
        "of the multiprocessors that kernels fill. A CPU has neither counter.",
    )


def _precision() -> Claim:
    networks = [Place("resnet50"), Place("convnext_t"), *(Place(m, "srep") for m in SIZES[:1])]
    return Claim(
        title="fp32 is not TF32: with TF32 products the same networks are faster",
        where="captions of Figure 1, Tables 2–4",
        said="full precision (fp32)",
        kind="gpu",
        quantities=[Ratio(each, each._replace(precision="tf32")) for each in networks],
        note="This is our question, not a claim of the paper. By default PyTorch lets cuDNN use "
        "TF32, so a row called fp32 may be TF32. If TF32 is faster, it matters which one the paper "
        "measured; this test cannot tell which.",
    )
