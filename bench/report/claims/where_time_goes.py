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
MUCH = 0.05  # of a latency
MUCH_NOTE = "Figure 5 is a picture without numbers: more than 5 % of the latency counts. "


def groups() -> dict[str, tuple[Claim, ...]]:
    """By heading."""
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
            note="BatchNorm is not folded here, as in the paper's table.",
        ),
        Claim(
            title="The order of latencies in the ablation, every pair of rows",
            where="Table 5",
            said="as printed",
            kind="gpu",
            quantities=pairs.order(5, "a100", ABLATION),
            sized=False,
            tally=True,
            note="Size T, before and after re-parameterisation: pairs whose latencies differ by "
            f"more than 2 % in the table. {ONE_PAIR}",
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
            note=MUCH_NOTE + "Fully connected layers do the products that 1×1 convolutions would "
            "otherwise do, so their share alone does not condemn them; Table 5's step does.",
        ),
        Claim(
            title="Additions are not negligible in RepNeXt as trained",
            where="Sec. 1, Figure 5",
            said="no number",
            kind="gpu",
            quantities=[Share(train, "addition")],
            scale=SHARE,
            edge=MUCH,
            note=MUCH_NOTE + "Of branches and shortcuts.",
        ),
        Claim(
            title="Branches are not negligible in RepNeXt as trained",
            where="Sec. 3.2, Figure 5",
            said="no number",
            kind="gpu",
            quantities=[Share(train, "depthwise or group conv", without="rrep")],
            scale=SHARE,
            edge=MUCH,
            note=MUCH_NOTE + "What depthwise convolutions take more than merged, in rRep.",
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
        note="The paper does not say which utilisation: the driver's counter (any kernel runs) "
        "and how much of the multiprocessors kernels fill must both rise. How busy the cores "
        "of a CPU are is neither.",
    )


def _precision() -> Claim:
    networks = [Place("resnet50"), Place("convnext_t"), *(Place(m, "srep") for m in SIZES[:1])]
    return Claim(
        title="fp32 is not TF32: with TF32 products the same networks are faster",
        where="captions of Figure 1, Tables 2–4",
        said="full precision (fp32)",
        kind="gpu",
        quantities=[Ratio(each, each._replace(precision="tf32")) for each in networks],
        note="Our question, no claim of the paper: PyTorch lets cuDNN use TF32 unless told not to, "
        "so a row called fp32 may be TF32. Where this holds, which of the two the paper measured "
        "matters; it cannot tell which.",
    )
