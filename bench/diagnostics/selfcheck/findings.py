"""Compares the parts of a selfcheck with their criteria: pure functions of records."""

from __future__ import annotations

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
from bench.diagnostics.selfcheck.numbers import by_model, estimate_text, numbers
from bench.records import Measurement

SPLITS = 200
MAX_FALSE_ALARMS = 0.05  # share of splits
MIN_DETECTED = {5: 0.8, 10: 0.9}  # share of splits by slow-down in per cent
MAX_COST_S = 120.0
SAME_BOUNDS = (0.95, 1.05)
MAX_MISSED_UNLIKE = 1
MAX_FIDELITY_ERROR = 0.01
FIDELITY_CLAIMS = {
    "eager": "harness / bare loop",
    "cudagraph": "device time of a graph / bare replays",
}


class Criterion(msgspec.Struct, frozen=True):
    """A claim about the harness, what it requires, what was found, and whether it passed."""

    claim: str
    required: str
    found: str
    passed: bool


class Findings(msgspec.Struct, frozen=True):
    """All criteria, and the numbers for the page and its picture.

    splits: ratios slowed / plain by slow-down in per cent, one for each of SPLITS splits.
    same, unlike: the comparison of each separate run.
    raw: the same numbers as text, by title.
    """

    criteria: list[Criterion]
    splits: dict[int, list[Estimate]]
    same: list[Comparison]
    unlike: list[Comparison]
    raw: dict[str, str]


def of(parts: Parts) -> Findings:
    """Compute the findings. A part that was not measured has no criterion."""
    splits = {percent: _splits(parts.pool, percent) for percent in PLANTS}
    same = [_by_replica(rounds) for rounds in parts.same]
    everything = [record for rounds in parts.unlike for record in rounds]
    usual = ratio.usual_state(everything)
    unlike = [ratio.compare(*by_model(rounds), usual=usual) for rounds in parts.unlike]
    criteria = [*_alarms(splits), *_cost(parts.pool), *_fidelity(parts.fidelity)]
    criteria += [*_same(same, parts.same), *_unlike(unlike)]
    criteria += [
        Criterion(
            f"fault: {each.fault}", f"{each.required} ({each.how})", each.verdict, each.passed
        )
        for each in parts.faults
    ]
    return Findings(criteria, splits, same, unlike, numbers(parts, splits, same, unlike))


def _splits(pool: Sequence[Measurement], percent: int) -> list[Estimate]:
    """Return the ratio slowed / plain of SPLITS random splits of the pool.

    A split takes one plain process and one slowed process from each round. For 0 per cent, it
    takes the two plain processes in random order. The seeds are fixed.
    """
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
    """Return a random plain process of a round, and another process slowed by `percent` %."""
    mine, other = draw.sample(REPLICAS, 2)
    theirs = other if percent == 0 else draw.choice(REPLICAS)
    return found[f"0/{mine}"], found[f"{percent}/{theirs}"]


def _alarms(splits: Mapping[int, Sequence[Estimate]]) -> list[Criterion]:
    """Return the criteria for false alarms (no slow-down) and sensitivity (known slow-down)."""
    findings = {p: Counter(stats.find(each) for each in found) for p, found in splits.items()}
    alarms = findings[0]["FASTER"] + findings[0]["SLOWER"]
    alarm_share = alarms / SPLITS
    criteria = [
        Criterion(
            "false alarms: a network against itself",
            f"at most {MAX_FALSE_ALARMS:.0%} of {SPLITS} splits FASTER or SLOWER",
            f"{alarms} ({_counts(findings[0])})",
            alarm_share <= MAX_FALSE_ALARMS,
        )
    ]
    for percent, required in MIN_DETECTED.items():
        share = findings[percent]["SLOWER"] / SPLITS
        median = statistics.median(each.point for each in splits[percent])
        criteria.append(
            Criterion(
                f"sensitivity: a copy made {percent} % slower",
                f"SLOWER in at least {required:.0%} of {SPLITS} splits",
                f"{share:.0%}; ratio {median:.3f} ({_counts(findings[percent])})",
                share >= required,
            )
        )
    return criteria


def _counts(findings: Counter[stats.Finding]) -> str:
    return ", ".join(f"{count} {finding}" for finding, count in sorted(findings.items()))


def _cost(pool: Sequence[Measurement]) -> list[Criterion]:
    """Return the criteria for cost, overhead and noise of a comparison of two cases of the pool.

    cost = rounds * (2 * mean time of a process + time of the template of a round), in seconds.
    """
    cases = len({record.case for record in pool})
    each = [record.stages_s.total for record in pool]
    rounds = len(pool) // cases
    template_s = statistics.fmean(record.share_s for record in pool) * cases
    cost_s = rounds * (2 * statistics.fmean(each) + template_s)
    overall, within = _noise(pool)
    timed = sum(record.stages_s.timed for record in pool)
    overhead_s = statistics.fmean(
        r.stages_s.total - r.stages_s.timed - r.stages_s.warmup for r in pool
    )
    return [
        Criterion(
            "cost of one comparison",
            f"at most {MAX_COST_S:.0f} s of measuring",
            f"{cost_s:.0f} s for {rounds} rounds of two processes, with the start of each process",
            cost_s <= MAX_COST_S,
        ),
        Criterion(
            "overhead of a process",
            "none, for information",
            f"{overhead_s:.1f} s of building, checking and calibrating, for "
            f"{timed / len(pool):.1f} s of timing",
            True,
        ),
        Criterion(
            "noise floor",
            "none, for information",
            f"standard deviation between processes of one network: {100 * overall:.1f} % over all "
            f"rounds, {100 * within:.1f} % within a round",
            True,
        ),
    ]


def _noise(pool: Sequence[Measurement]) -> tuple[float, float]:
    """Return two standard deviations of log(median of a process): over all rounds, and within one.

    Within a round: sqrt(mean(d^2) / 2), where d is the difference of its two replicas.
    """
    plain: dict[tuple[str, int], list[float]] = {}
    for record in pool:
        if "+0/" in record.case.model:
            logs = plain.setdefault(ratio.sitting_of(record), [])
            logs.append(math.log(statistics.median(record.samples_s)))
    differences = [logs[0] - logs[1] for logs in plain.values() if len(logs) == len(REPLICAS)]
    everything = [log for logs in plain.values() for log in logs]
    within = math.sqrt(statistics.fmean(each**2 for each in differences) / 2)
    return statistics.stdev(everything), within


def _fidelity(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> list[Criterion]:
    """Return a criterion per backend: harness time / time of a bare loop must be close to 1."""
    criteria = []
    for backend, each in pairs.items():
        found = stats.paired_ratio([[math.log(harness / loop)] for harness, loop in each])
        assert found is not None
        criteria.append(
            Criterion(
                f"fidelity: {FIDELITY_CLAIMS[backend]}",
                f"within {MAX_FIDELITY_ERROR:.0%} of 1",
                f"{estimate_text(found, 4)} from {len(each)} pairs",
                abs(found.point - 1) <= MAX_FIDELITY_ERROR,
            )
        )
    return criteria


def _by_replica(rounds: Sequence[Measurement]) -> Comparison:
    base, candidate = ([r for r in rounds if r.case.model.endswith(name)] for name in ("/a", "/b"))
    return ratio.compare(base, candidate)


def _same(same: Sequence[Comparison], rounds: Sequence[Sequence[Measurement]]) -> list[Criterion]:
    """Return the criterion for ResNet50 against itself in separate runs; the true ratio is 1."""
    if not same:
        return []
    points = [each.ratio.point for each in same if each.ratio]
    longest = max(sum(r.stages_s.total + r.share_s for r in run) for run in rounds)
    low, high = SAME_BOUNDS
    return [
        Criterion(
            f"resnet50 against itself in {len(same)} separate runs",
            f"every ratio within {low} to {high}, at most 90 s a run",
            f"{min(points):.3f} to {max(points):.3f}, at most {longest:.0f} s a run",
            low <= min(points) and max(points) <= high and longest <= 90,
        )
    ]


def _unlike(unlike: Sequence[Comparison]) -> list[Criterion]:
    """Return the criteria for two different networks in separate runs.

    The true ratio is not known. pooled = exp(mean(log ratio)) over the runs takes its place.
    """
    ratios = [each.ratio for each in unlike if each.ratio]
    adjusted = [each.adjusted for each in unlike if each.adjusted]
    if not ratios:
        return []
    pooled = math.exp(statistics.fmean(math.log(each.point) for each in ratios))
    covered = sum(each.low <= pooled <= each.high for each in ratios)
    criteria = [
        Criterion(
            f"{UNLIKE[1]} / {UNLIKE[0]} in {len(ratios)} separate runs",
            f"the interval contains the pooled ratio in all runs but {MAX_MISSED_UNLIKE}",
            f"{covered} of {len(ratios)} intervals contain {pooled:.3f}; "
            f"largest / smallest ratio - 1 = {_spread(ratios)}",
            covered >= len(ratios) - MAX_MISSED_UNLIKE,
        )
    ]
    if len(adjusted) == len(ratios):
        halves = _spread_of(adjusted) <= _spread_of(ratios) / 2
        text = "small enough to use" if halves else "too large: not used"
        criteria.append(
            Criterion(
                "the same ratio, adjusted by the calibration kernels",
                "at most half of that spread; otherwise it is not used",
                f"largest / smallest ratio - 1 = {_spread(adjusted)}, {text}",
                True,
            )
        )
    return criteria


def _spread_of(ratios: Sequence[Estimate]) -> float:
    """Return largest ratio / smallest ratio - 1."""
    points = [each.point for each in ratios]
    return max(points) / min(points) - 1


def _spread(ratios: Sequence[Estimate]) -> str:
    return f"{100 * _spread_of(ratios):.1f} %"
