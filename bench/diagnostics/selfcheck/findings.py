"""What the parts of a selfcheck show, each beside its bar: pure functions of records."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from bench.analysis import ratio, stats
from bench.analysis.ratio import Comparison
from bench.analysis.stats import Estimate
from bench.diagnostics.selfcheck import PLANTS, REPLICAS, UNLIKE, Parts
from bench.records import Measurement

SPLITS = 200
MOST_FALSE_ALARMS = 0.05
FOUND = {5: 0.8, 10: 0.9}
COST_S = 120.0
SAME_BOUNDS = (0.95, 1.05)
MOST_MISSED_UNLIKE = 1
FIDELITY = 0.01
FIDELITY_OF = {
    "eager": "harness / bare loop",
    "cudagraph": "device time of a graph / bare replays",
}


class Bar(msgspec.Struct, frozen=True):
    """One claim, what it must reach, what was found, and whether it does."""

    claim: str
    wanted: str
    found: str
    passed: bool


class Findings(msgspec.Struct, frozen=True):
    """All bars, with the numbers behind them for the page and its picture."""

    bars: list[Bar]
    splits: dict[int, list[Estimate]]
    same: list[Comparison]
    unlike: list[Comparison]
    raw: dict[str, str]


def of(parts: Parts) -> Findings:
    """Work everything out; parts that were not measured have no bars."""
    splits = {percent: _splits(parts.pool, percent) for percent in PLANTS}
    same = [_by_replica(rounds) for rounds in parts.same]
    everything = [record for rounds in parts.unlike for record in rounds]
    usual = ratio.usual_state(everything)
    unlike = [ratio.compare(*_by_model(rounds), usual=usual) for rounds in parts.unlike]
    bars = [*_alarms(splits), *_cost(parts.pool), *_fidelity(parts.fidelity)]
    bars += [*_same(same, parts.same), *_unlike(unlike)]
    bars += [
        Bar(f"fault: {each.fault}", f"{each.wanted} ({each.how})", each.verdict, each.passed)
        for each in parts.faults
    ]
    return Findings(bars, splits, same, unlike, _raw(parts, splits, same, unlike))


def _splits(pool: Sequence[Measurement], percent: int) -> list[Estimate]:
    """Seeded splits: in each round one of the plain processes, and another of those planted."""
    by_round: dict[tuple[str, int], dict[str, Measurement]] = {}
    for record in pool:
        name = record.case.model.partition("+")[2]
        by_round.setdefault(ratio.sitting_of(record), {})[name] = record
    rounds = [found for found in by_round.values() if len(found) == len(REPLICAS) * len(PLANTS)]
    splits = []
    for seed in range(SPLITS):
        draw = random.Random(f"{percent} {seed}")
        pairs = [_draw(found, percent, draw) for found in rounds]
        base, candidate = zip(*pairs, strict=True)
        found = ratio.compare(base, candidate).ratio
        assert found is not None
        splits.append(found)
    return splits


def _draw(
    found: Mapping[str, Measurement], percent: int, draw: random.Random
) -> tuple[Measurement, Measurement]:
    mine, other = draw.sample(REPLICAS, 2)
    theirs = other if percent == 0 else draw.choice(REPLICAS)
    return found[f"0/{mine}"], found[f"{percent}/{theirs}"]


def _alarms(splits: Mapping[int, Sequence[Estimate]]) -> list[Bar]:
    findings = {p: Counter(stats.find(each) for each in found) for p, found in splits.items()}
    alarms = findings[0]["FASTER"] + findings[0]["SLOWER"]
    alarm_share = alarms / SPLITS
    bars = [
        Bar(
            "false alarms: a network against itself",
            f"at most {MOST_FALSE_ALARMS:.0%} of {SPLITS} splits FASTER or SLOWER",
            f"{alarms} ({_counts(findings[0])})",
            alarm_share <= MOST_FALSE_ALARMS,
        )
    ]
    for percent, wanted in FOUND.items():
        share = findings[percent]["SLOWER"] / SPLITS
        median = statistics.median(each.point for each in splits[percent])
        bars.append(
            Bar(
                f"sensitivity: a plant of +{percent} %",
                f"SLOWER in {wanted:.0%} of {SPLITS} splits",
                f"{share:.0%}; ratio {median:.3f} ({_counts(findings[percent])})",
                share >= wanted,
            )
        )
    return bars


def _counts(findings: Counter[stats.Finding]) -> str:
    return ", ".join(f"{count} {finding}" for finding, count in sorted(findings.items()))


def _cost(pool: Sequence[Measurement]) -> list[Bar]:
    """Seconds of measuring that a comparison of two cases of the pool takes, on average."""
    cases = len({record.case for record in pool})
    each = [record.stages_s.total for record in pool]
    rounds = len(pool) // cases
    template_s = statistics.fmean(record.share_s for record in pool) * cases
    cost_s = rounds * (2 * statistics.fmean(each) + template_s)
    apart, beside = _noise(pool)
    timed = sum(record.stages_s.timed for record in pool)
    overhead_s = statistics.fmean(
        r.stages_s.total - r.stages_s.timed - r.stages_s.warmup for r in pool
    )
    return [
        Bar(
            "cost of such a comparison",
            f"at most {COST_S:.0f} s of measuring",
            f"{cost_s:.0f} s: {rounds} rounds of two processes, the start of each included",
            cost_s <= COST_S,
        ),
        Bar(
            "overhead of a process",
            "stated",
            f"{overhead_s:.1f} s of building, checking and calibrating beside "
            f"{timed / len(pool):.1f} s timed",
            True,
        ),
        Bar(
            "noise floor",
            "stated",
            f"processes of one network differ by {100 * apart:.1f} % at different times, by "
            f"{100 * beside:.1f} % side by side (standard deviations)",
            True,
        ),
    ]


def _noise(pool: Sequence[Measurement]) -> tuple[float, float]:
    """Standard deviation of the logarithm of a process's median: of all, and within a round."""
    plain: dict[tuple[str, int], list[float]] = {}
    for record in pool:
        if "+0/" in record.case.model:
            logs = plain.setdefault(ratio.sitting_of(record), [])
            logs.append(math.log(statistics.median(record.samples_s)))
    differences = [logs[0] - logs[1] for logs in plain.values() if len(logs) == len(REPLICAS)]
    everything = [log for logs in plain.values() for log in logs]
    beside = math.sqrt(statistics.fmean(each**2 for each in differences) / 2)
    return statistics.stdev(everything), beside


def _fidelity(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> list[Bar]:
    bars = []
    for backend, each in pairs.items():
        found = stats.paired_ratio([[math.log(harness / loop)] for harness, loop in each])
        assert found is not None
        bars.append(
            Bar(
                f"fidelity: {FIDELITY_OF[backend]}",
                f"within {FIDELITY:.0%} of 1",
                f"{_estimate(found, 4)} from {len(each)} pairs",
                abs(found.point - 1) <= FIDELITY,
            )
        )
    return bars


def _by_replica(rounds: Sequence[Measurement]) -> Comparison:
    base, candidate = ([r for r in rounds if r.case.model.endswith(name)] for name in ("/a", "/b"))
    return ratio.compare(base, candidate)


def _by_model(rounds: Sequence[Measurement]) -> tuple[list[Measurement], list[Measurement]]:
    base, candidate = ([r for r in rounds if r.case.model == name] for name in UNLIKE)
    return base, candidate


def _same(same: Sequence[Comparison], rounds: Sequence[Sequence[Measurement]]) -> list[Bar]:
    if not same:
        return []
    points = [each.ratio.point for each in same if each.ratio]
    longest = max(sum(r.stages_s.total + r.share_s for r in run) for run in rounds)
    low, high = SAME_BOUNDS
    return [
        Bar(
            f"resnet50 against itself in {len(same)} separate runs",
            f"every ratio within {low} to {high}, at most 90 s a run",
            f"{min(points):.3f} to {max(points):.3f}, at most {longest:.0f} s a run",
            low <= min(points) and max(points) <= high and longest <= 90,
        )
    ]


def _unlike(unlike: Sequence[Comparison]) -> list[Bar]:
    ratios = [each.ratio for each in unlike if each.ratio]
    adjusted = [each.adjusted for each in unlike if each.adjusted]
    if not ratios:
        return []
    pooled = math.exp(statistics.fmean(math.log(each.point) for each in ratios))
    held = sum(each.low <= pooled <= each.high for each in ratios)
    bars = [
        Bar(
            f"{UNLIKE[1]} / {UNLIKE[0]} in {len(ratios)} separate runs",
            f"the interval holds the pooled ratio in all but {MOST_MISSED_UNLIKE}",
            f"{held} of {len(ratios)} hold {pooled:.3f}; the ratio spreads by {_spread(ratios)}",
            held >= len(ratios) - MOST_MISSED_UNLIKE,
        )
    ]
    if len(adjusted) == len(ratios):
        halves = _spread_of(adjusted) <= _spread_of(ratios) / 2
        text = "at least half as much: it may be used" if halves else "too much: it is not used"
        bars.append(
            Bar(
                "adjusted by the calibration kernels",
                "half the spread, or not used",
                f"spreads by {_spread(adjusted)}, {text}",
                True,
            )
        )
    return bars


def _spread_of(ratios: Sequence[Estimate]) -> float:
    points = [each.point for each in ratios]
    return max(points) / min(points) - 1


def _spread(ratios: Sequence[Estimate]) -> str:
    return f"{100 * _spread_of(ratios):.1f} %"


def _raw(
    parts: Parts,
    splits: Mapping[int, Sequence[Estimate]],
    same: Sequence[Comparison],
    unlike: Sequence[Comparison],
) -> dict[str, str]:
    """The numbers behind the bars, as text."""
    raw = {
        f"splits of +{percent} %": ", ".join(f"{each.point:.3f}" for each in found)
        for percent, found in splits.items()
    }
    if same:
        raw["resnet50 against itself"] = _listed([each.ratio for each in same])
    if unlike:
        raw[f"{UNLIKE[1]} / {UNLIKE[0]}"] = _listed([each.ratio for each in unlike])
        raw["the same, adjusted by the kernels"] = _listed([each.adjusted for each in unlike])
        raw |= _sequential(parts.unlike)
    return raw


def _sequential(unlike: Sequence[Sequence[Measurement]]) -> dict[str, str]:
    """What one process of each, at different times, would have said: the usual practice."""
    sides = [_by_model(rounds) for rounds in unlike]
    firsts = [[statistics.median(side[0].samples_s) for side in run] for run in sides]
    ratios = [b[1] / a[0] for a, b in itertools.pairwise(firsts)]
    singles = [statistics.median(r.samples_s) for base, _ in sides for r in base]
    apart = ", ".join(f"{each:.3f}" for each in ratios)
    return {
        "the same from one process each, measured in different runs": apart,
        f"medians of {len(singles)} single processes of {UNLIKE[0]}": (
            f"{1e3 * min(singles):.1f} to {1e3 * max(singles):.1f} ms, a spread of "
            f"{100 * (max(singles) / min(singles) - 1):.0f} %"
        ),
    }


def _listed(estimates: Sequence[Estimate | None]) -> str:
    return "; ".join(_estimate(each) for each in estimates if each)


def _estimate(each: Estimate, digits: int = 3) -> str:
    return f"{each.point:.{digits}f} [{each.low:.{digits}f}, {each.high:.{digits}f}]"
