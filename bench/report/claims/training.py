"""Claims about the cost of a training step (Sections 3.1 and 5)."""

from __future__ import annotations

from bench.records.workload import TRAIN
from bench.report.claims.claim import BEYOND, Claim, Quote
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import UNITS, T
from bench.report.claims.quantities import Ratio

BATCH = 32
SINGLE = "shortcut_act_t"  # Table 5: the same network with one 7x7 convolution and a BatchNorm
LITTLE = 1.10
STEP = (
    "A step is forward, loss, backward and AdamW at batch 32 and 224 pixels, in eager mode and "
    "fp32; it does not wait for data."
)


def claims() -> tuple[Claim, ...]:
    """All claims of this group."""
    return (_little(), _small_kernels(), _order(), _compressed(), _branches())


def _steps(slow: str, fast: str) -> Ratio:
    """Seconds of a step of `slow` / those of `fast`; the paper has no such table."""
    one, other = (Place(each, "train", BATCH, workload=TRAIN) for each in (slow, fast))
    return Ratio(one, other)


def _little() -> Claim:
    return Claim(
        number=65,
        title="Branches with small kernels do not increase the cost of training much",
        quote=Quote("Highlights", "without increasing the training cost much"),
        where="Highlights, Sec. 3.1",
        said="not much",
        kind="any",
        quantities=[_steps(SINGLE, unit) for unit in UNITS],
        edge=1 / LITTLE,
        sized=False,
        note="We take “not much” as at most 10 %, as in claim 2: a step of Shortcut-act, which has "
        "one 7x7 convolution in each block, over a step of RepNeXt must be above 1 / 1.1. " + STEP,
    )


def _small_kernels() -> Claim:
    return Claim(
        number=66,
        title="RepUnit1 trains faster than a 7x7 convolution of all channels",
        quote=Quote(
            "Sec. 3.1",
            "the presence of smaller kernels and the non-increased layer width decrease the "
            "training cost",
        ),
        where="Sec. 3.1",
        said="no number",
        kind="any",
        quantities=[_steps(SINGLE, UNITS[0])],
        sized=False,
        note=f"A step of Shortcut-act (Table 5) over a step of RepNeXt-u1-T. {STEP}",
    )


def _order() -> Claim:
    return Claim(
        number=67,
        title="A training step of RepUnit2 costs more than one of RepUnit1",
        quote=Quote(
            "Sec. 3.1",
            "RepUnit2 has more parameters and a larger width, which will increase the training "
            "cost",
        ),
        where="Sec. 3.1",
        said="no number",
        kind="any",
        quantities=[_steps(UNITS[1], UNITS[0])],
        sized=False,
        note=f"Claim 53 tests the same of the forward pass. {STEP}",
    )


def _compressed() -> Claim:
    return Claim(
        number=68,
        title="RepUnit3 makes a training step cheaper than RepUnit2 does",
        quote=Quote("Sec. 3.1", "To reduce the training cost, we design RepUnit3"),
        where="Sec. 3.1",
        said="no number",
        kind="any",
        quantities=[_steps(UNITS[1], T)],
        sized=False,
        note=STEP,
    )


def _branches() -> Claim:
    return Claim(
        number=69,
        title="Several branches make a training step longer than one branch does",
        where="Sec. 5",
        said="no number",
        kind="any",
        quantities=[_steps(unit, SINGLE) for unit in UNITS],
        edge=BEYOND,
        sized=False,
        note="A step of RepNeXt over a step of Shortcut-act, which has one branch and a BatchNorm "
        "in its place. The paper says that several branches converge slowly and need more rounds; "
        f"that is not tested. {STEP}",
    )
