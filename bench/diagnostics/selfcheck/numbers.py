"""The numbers that the criteria of a selfcheck are computed from, as text."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence

from bench.analysis.ratio import Comparison
from bench.analysis.stats import Estimate
from bench.diagnostics.selfcheck import UNLIKE, Parts
from bench.records import Measurement


def numbers(
    parts: Parts,
    pairs: Mapping[int, Sequence[Estimate]],
    same: Sequence[Comparison],
    unlike: Sequence[Comparison],
) -> dict[str, str]:
    """Return the numbers that the criteria are computed from, as text by title."""
    raw = {
        f"ratios of the pairs, {percent} % slower": _listed(found)
        for percent, found in pairs.items()
    }
    if same:
        raw["resnet50 against itself"] = _listed([each.ratio for each in same])
    if unlike:
        raw[f"{UNLIKE[1]} / {UNLIKE[0]}"] = _listed([each.ratio for each in unlike])
        raw[f"{UNLIKE[1]} / {UNLIKE[0]}, adjusted by the calibration kernels"] = _listed(
            [each.adjusted for each in unlike]
        )
        raw |= _sequential(parts.unlike)
    return raw


def _sequential(unlike: Sequence[Sequence[Measurement]]) -> dict[str, str]:
    """Return what the usual practice gives: one process for each network, at different times."""
    sides = [by_model(rounds) for rounds in unlike]
    firsts = [[statistics.median(side[0].samples_s) for side in run] for run in sides]
    ratios = [b[1] / a[0] for a, b in itertools.pairwise(firsts)]
    singles = [statistics.median(r.samples_s) for base, _ in sides for r in base]
    listed = ", ".join(f"{each:.3f}" for each in ratios)
    return {
        f"{UNLIKE[1]} / {UNLIKE[0]} from one process each, in different runs": listed,
        f"medians of {len(singles)} single processes of {UNLIKE[0]}": (
            f"{1e3 * min(singles):.1f} to {1e3 * max(singles):.1f} ms; largest / smallest - 1 = "
            f"{100 * (max(singles) / min(singles) - 1):.0f} %"
        ),
    }


def _listed(estimates: Sequence[Estimate | None]) -> str:
    return "; ".join(estimate_text(each) for each in estimates if each)


def estimate_text(each: Estimate, digits: int = 3) -> str:
    """Return `ratio [low, high]`, the ratio with its 95 % interval."""
    return f"{each.point:.{digits}f} [{each.low:.{digits}f}, {each.high:.{digits}f}]"


def by_model(rounds: Sequence[Measurement]) -> tuple[list[Measurement], list[Measurement]]:
    """Return the rounds of the first and of the second network of UNLIKE."""
    base, candidate = ([r for r in rounds if r.case.model == name] for name in UNLIKE)
    return base, candidate
