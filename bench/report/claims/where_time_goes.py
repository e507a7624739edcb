"""Claims about parts of a network: the ablation, Figure 5, and the precision."""

from __future__ import annotations

from bench.records import Category
from bench.report.claims import pairs
from bench.report.claims.against_others import ONE_PAIR
from bench.report.claims.claim import SHARE, Claim, Quote
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import SIZES, T, chain
from bench.report.claims.quantities import Ratio
from bench.report.claims.shares import Gauge, Share, Work

ABLATION = ("convnext_t", "lc2pwconv_t", "ln2bn_t", "shortcut_act_t", T)
REPLACED: tuple[Category, ...] = ("addition", "depthwise or group conv", "pointwise conv")
MUCH = 0.05  # a larger share of the latency is “much”, or not negligible
COUNTERS_NOTE = (
    "The paper does not define utilisation, so we require two counters to rise. One is the "
    "driver's counter: the share of time in which any kernel runs. The other is the share of the "
    "multiprocessors that kernels fill. A CPU has neither counter."
)
TAKE_MUCH = Quote(
    "Figure 5",
    "LN and fully connected layers that rely on dimensional transformations take up much latency "
    "in ConvNeXt",
)
NON_NEGLIGIBLE = Quote(
    "Figure 5",
    "Element-wise addition and multi-branching become non-negligible factors affecting the "
    "inference speed of RepNeXt in the training time",
)
MUCH_NOTE = "Figure 5 prints no numbers; we require more than 5 % of the latency. "


def groups() -> dict[str, tuple[Claim, ...]]:
    """The claims of this file by their heading in `claims.md`."""
    return {
        "From ConvNeXt to RepNeXt": (*_ablation(), _order()),
        "Where the time goes": (
            _layers(),
            *_branches(),
            _transforms(),
            *_utilisation(),
            *_causes(),
        ),
        "Precision": (_precision(),),
    }


def _ablation() -> tuple[Claim, ...]:
    convnext, convolved, normed = (Place(model) for model in ABLATION[:3])
    return (
        Claim(
            number=39,
            title="Pointwise convolutions as fully connected layers slow ConvNeXt",
            quote=Quote(
                "Sec. 4.2 (1)", "this implementation slows down the inference of the network"
            ),
            where="Secs. 1, 3.1, 4.2 (1), Table 5",
            said=chain(5, "a100", (ABLATION[0], "plain"), (ABLATION[1], "plain")),
            kind="gpu",
            quantities=[Ratio(convnext, convolved, 5)],
        ),
        Claim(
            number=40,
            title="BatchNorm is more efficient than LayerNorm",
            quote=Quote(
                "Sec. 4.2 (2)",
                "The BN layer is still a valuable structure for normalization because it is "
                "efficient",
            ),
            where="Secs. 1, 3.1, 4.2 (2), Table 5",
            said=chain(5, "a100", (ABLATION[1], "plain"), (ABLATION[2], "plain")),
            kind="gpu",
            quantities=[Ratio(convolved, normed, 5)],
            note="As in the paper's table, BatchNorm is not folded into the convolutions.",
        ),
    )


def _order() -> Claim:
    return Claim(
        number=41,
        title="The order of latencies in the ablation, every pair of rows",
        where="Table 5",
        said="as printed",
        kind="gpu",
        quantities=pairs.order(5, "a100", ABLATION),
        sized=False,
        tally=True,
        note="Size T, before and after re-parameterisation: all pairs whose latencies differ "
        f"by more than 2 % in the table. {ONE_PAIR}",
    )


def _layers() -> Claim:
    return Claim(
        number=42,
        title="LayerNorm and fully connected layers take much of ConvNeXt's latency",
        quote=TAKE_MUCH,
        where="Sec. 1, Figure 5",
        said="“much”",
        kind="gpu",
        quantities=[
            Share(Place("convnext_t"), "layer norm"),
            Share(Place("convnext_t"), "fully connected"),
        ],
        scale=SHARE,
        edge=MUCH,
        note=MUCH_NOTE + "Fully connected layers replace 1×1 convolutions, so a large share "
        "alone does not show that they are slow; the step in Table 5 does.",
    )


def _branches() -> tuple[Claim, ...]:
    train = Place(T, "train")
    return (
        Claim(
            number=43,
            title="Additions are not negligible in RepNeXt as trained",
            quote=NON_NEGLIGIBLE,
            where="Sec. 1, Figure 5",
            said="no number",
            kind="gpu",
            quantities=[Share(train, "addition")],
            scale=SHARE,
            edge=MUCH,
            note=MUCH_NOTE + "We count the additions of branches and of shortcuts.",
        ),
        Claim(
            number=44,
            title="Branches are not negligible in RepNeXt as trained",
            quote=NON_NEGLIGIBLE,
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


def _transforms() -> Claim:
    return Claim(
        number=57,
        title="ConvNeXt's fragmented dimension transforms take much of its latency",
        quote=Quote(
            "Sec. 3.1",
            "using a fully connected layer to implement pointwise conv relies on frequent "
            "dimensional transformations, which is an efficiency-unfriendly fragmentation "
            "operation",
        ),
        where="Secs. 1, 3.1, Figure 5",
        said="“frequent”",
        kind="gpu",
        quantities=[Share(Place("convnext_t"), "dimension transform")],
        scale=SHARE,
        edge=MUCH,
        note=MUCH_NOTE + "We count transforms that are operators of their own. In timm's "
        "ConvNeXt-T they are views and move no data; a copy inside another layer counts as "
        "that layer's time. Lc2pwconv-T has as many permutes, around its LayerNorms. Claim 39 "
        "tests the step from fully connected layers to convolutions as a whole.",
    )


def _utilisation() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            number=number,
            title=title,
            quote=quote,
            where=where,
            said="no number",
            kind="gpu",
            quantities=[
                Gauge(Place(T, before), Place(T, "srep"), "sampled"),
                Gauge(Place(T, before), Place(T, "srep"), "sm_fill"),
            ],
            note=f"{more}{COUNTERS_NOTE}",
        )
        for number, title, quote, where, before, more in (
            (
                45,
                "Re-parameterisation raises the utilisation of a GPU",
                Quote(
                    "Figure 5",
                    "The elimination of multi-branch and fragmented structures improves the "
                    "parallelism of RepNeXt in the inference time",
                ),
                *("Secs. 3.2, 4.1, Figure 5", "train", ""),
            ),
            (
                56,
                "Merging the shortcuts alone raises the utilisation of a GPU",
                Quote(
                    "Sec. 3.2",
                    "This conversion improves memory access and the degree of parallelism",
                ),
                *("Highlights, Abstract, Sec. 3.2", "rrep", "sRep against rRep. "),
            ),
        )
    )


def _causes() -> tuple[Claim, ...]:
    return (
        Claim(
            number=62,
            title="A convolution is cheaper than the addition that it replaces",
            quote=Quote(
                "Sec. 3.2",
                "The convolution is generally performed on Matrix Units, which has more "
                "optimizations than the former and is more efficient",
            ),
            where="Sec. 3.2",
            said="more efficient",
            kind="gpu",
            quantities=[Work(Place(T, "rrep"), Place(T, "srep"), REPLACED)],
            note="The time of all additions and of the convolutions that merging enlarges, rRep / "
            "sRep. Merging removes the additions and enlarges the convolutions, so the ratio is "
            "above 1 if the larger convolutions cost less than the additions did. Gaps between "
            "kernels and activations are not included.",
        ),
        Claim(
            number=63,
            title="A cleaner network and more parallelism explain most of the speed-up",
            quote=Quote(
                "Sec. 4.1",
                "A cleaner network and a higher degree of parallelism are the main contributions "
                "of structural re-parameterization to acceleration",
            ),
            where="Sec. 4.1, Figure 5",
            said="main",
            kind="gpu",
            untested="the paper defines neither cause, so any saved time can be booked to one of "
            "them. A test would change one cause at a time: train and sRep in CUDA graphs remove "
            "the launch gaps from both, and a count of resident warps over time shows parallelism "
            "apart from busy time.",
        ),
    )


def _precision() -> Claim:
    networks = [Place("resnet50"), Place("convnext_t"), *(Place(m, "srep") for m in SIZES[:1])]
    return Claim(
        number=46,
        title="fp32 is not TF32: with TF32 products the same networks are faster",
        where="captions of Figure 1, Tables 2–4",
        said="full precision (fp32)",
        kind="gpu",
        quantities=[Ratio(each, each._replace(precision="tf32")) for each in networks],
        note="The paper does not say which it used. By default PyTorch lets cuDNN use "
        "TF32, so a row called fp32 may be TF32. If TF32 is faster, it matters which one the paper "
        "measured; this test cannot tell which.",
    )
