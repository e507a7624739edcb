"""Whether a stored result was reproduced, and which difference between both explains most."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from bench.analysis import interval, kinds, stats
from bench.analysis.ratio import kernel_logs
from bench.analysis.recorded import UNKNOWN
from bench.analysis.stats import FEWEST_PROCESSES, Estimate
from bench.analysis.verdict import Verdict
from bench.records import Case, Conditions, Environment, Measurement
from bench.text import between, significant

MARGIN = 0.05  # a smaller difference counts as reproduced
WIDEST = 1.25  # an interval of the ratio that reaches further from 1 reproduces nothing
EXPLAINS = 0.5  # the share of the log-ratio from which a factor counts as its reason
SITTING = 0.03  # standard deviation of the log of the latency between two sittings, at least
KERNELS_DIFFER, CLOCK_DIFFERS, SHARE_DIFFERS = 1.05, 1.03, 0.05
THREADS_DIFFER = 0.8

Finding = Literal["REPRODUCED", "DIFFERENT", "CANNOT BE TOLD"]


class Side(NamedTuple):
    """The stored or the new rounds of a case, their environment, and the verdict on them."""

    environment: Environment
    rounds: Sequence[Measurement]
    verdict: Verdict


class Difference(msgspec.Struct, frozen=True):
    """What differs between both sides. `factor` is by how much it alone would change the latency.

    It is None where that cannot be computed. `is_cause`: it is no mere sign of another difference,
    as the speed of the machine is.
    """

    kind: str
    text: str
    factor: float | None = None
    is_cause: bool = True


class Replay(msgspec.Struct, frozen=True):
    """The result: the ratio new / stored of the latencies, and the differences by their rank.

    The causes of others come first: another chip has other clocks, and other clocks make other
    calibration kernels.
    """

    case: Case
    stored_s: float
    new_s: float
    ratio: Estimate | None
    finding: Finding
    differences: list[Difference]


def judge(stored: Side, new: Side, margin: float = MARGIN) -> Replay:
    """Judge a replay by the interval of new / stored.

    The interval holds the spread between the processes of both sides and, for each side, the drift
    of the machine: `interval.seen_drift` within a sitting, and at least SITTING. Where the kernels
    differ between the sittings by more than their noise, and nothing on record is the cause, the
    machine itself drifted, and both ends move outwards by that factor.

    DIFFERENT: the interval is wholly beyond the margin. REPRODUCED: it holds 1, or its point lies
    within the margin, and no end is further than a factor of WIDEST from 1. CANNOT BE TOLD:
    anything else, fewer than FEWEST_PROCESSES on a side, and an INVALID verdict.
    """
    before, after = (
        [statistics.median(record.samples_s) for record in side.rounds] for side in (stored, new)
    )
    differences = [found for look in LOOKS for found in look(stored, new)]
    drift = max(interval.seen_drift(stored.rounds), interval.seen_drift(new.rounds), SITTING)
    ratio = stats.separate_ratio(before, after, drift)
    if ratio is not None and not any(each.is_cause for each in differences):
        factor = math.exp(_apart(stored.rounds, new.rounds))
        ratio = ratio._replace(low=ratio.low / factor, high=ratio.high * factor)
    is_invalid = "INVALID" in (stored.verdict.level, new.verdict.level)
    return Replay(
        case=stored.rounds[0].case,
        stored_s=statistics.fmean(before),
        new_s=statistics.fmean(after),
        ratio=ratio,
        finding="CANNOT BE TOLD" if is_invalid else _finding(ratio, margin),
        differences=_by_rank(differences, ratio),
    )


def _apart(stored: Sequence[Measurement], new: Sequence[Measurement]) -> float:
    """How far the kernels of two sittings are apart, for the kernel that differs more.

    With x the logs of a kernel's median seconds in each round, it is the root of
    (mean(x of new) - mean(x of stored))² - s²/n of both, which their noise explains; at least 0.
    """
    if not all(record.block_compute_s for record in [*stored, *new]):
        return 0.0
    found = []
    for before, after in zip(kernel_logs(stored), kernel_logs(new), strict=True):
        noise = sum(stats.variance(logs) / len(logs) for logs in (before, after) if len(logs) > 1)
        apart = statistics.fmean(after) - statistics.fmean(before)
        found.append(math.sqrt(max(apart**2 - noise, 0.0)))
    return max(found)


def _finding(ratio: Estimate | None, margin: float) -> Finding:
    if ratio is None:
        return "CANNOT BE TOLD"
    if stats.find(ratio, margin) in ("FASTER", "SLOWER"):
        return "DIFFERENT"
    is_near = ratio.low <= 1 <= ratio.high or abs(math.log(ratio.point)) <= math.log(1 + margin)
    is_narrow = max(ratio.high, 1 / ratio.low) <= WIDEST
    return "REPRODUCED" if is_near and is_narrow else "CANNOT BE TOLD"


def _by_rank(found: Sequence[Difference], ratio: Estimate | None) -> list[Difference]:
    """Causes before their effects; a factor that explains less than half comes after the others."""
    whole = math.log(ratio.point) if ratio else 0.0

    def explains_little(each: Difference) -> bool:
        if each.factor is None or not whole:
            return False
        return math.log(each.factor) / whole < EXPLAINS

    return sorted(found, key=explains_little)


def sentence(found: Replay) -> str:
    """`DIFFERENT: 1.31 (1.22 to 1.40) times the stored latency; most likely by the chip: A → B`."""
    if found.ratio is None:
        return f"{found.finding}: each side needs {FEWEST_PROCESSES} processes"
    said = f"{found.finding}: {between(*found.ratio)} times the stored latency"
    if found.finding == "REPRODUCED":
        return said
    if not found.differences:
        return f"{said}; nothing on record explains it"
    first = found.differences[0]
    return f"{said}; most likely by the {first.kind}: {first.text}"


# --- the looks at what may differ, causes before their effects ---


def _network(stored: Side, new: Side) -> Iterator[Difference]:
    """The structure of the network that was timed."""
    if stored.rounds[-1].structure != new.rounds[-1].structure:
        yield Difference("network", "its structure is another, though it has the same name")


def _chip(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = stored.environment.chip, new.environment.chip
    if any(chip.name.startswith(UNKNOWN) for chip in (before, after)):
        return
    if before.name != after.name:
        yield Difference("chip", f"{before.name} → {after.name}")
    elif before.threads != after.threads:
        yield Difference("chip", f"{before.threads} usable CPUs → {after.threads}")


def _power_mode(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = (_power_modes(side) for side in (stored, new))
    if before and after and before != after:
        yield Difference("power mode", f"{_listed(before)} → {_listed(after)}")


def _power_modes(side: Side) -> list[str]:
    fact = side.environment.chip.facts.get("power_mode")
    seen = [mode for r in side.rounds if r.conditions for mode in r.conditions.power_modes]
    return sorted({*seen, *([str(fact)] if fact else [])})


def _versions(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = (
        {**side.environment.versions, **side.rounds[-1].runtime} for side in (stored, new)
    )
    changed = [
        f"{name} {before[name]} → {after[name]}"
        for name in before
        if before[name] and after.get(name) and before[name] != after[name]
    ]
    if changed:
        yield Difference("versions", ", ".join(changed))


def _variables(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = (side.environment.variables for side in (stored, new))
    changed = [
        f"{name}={before.get(name, '')} → {name}={after.get(name, '')}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    if changed:
        yield Difference("variables of the shell", ", ".join(changed))


def _settings(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = (side.rounds[-1].settings for side in (stored, new))
    changed = [
        f"{name} {before[name]} → {after[name]}"
        for name in before
        if name in after and before[name] != after[name]
    ]
    if changed:
        yield Difference("settings of the process", ", ".join(changed))


def _threads(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = (
        stats.mean_of_known(seen.threads_used for seen in _conditions(side))
        for side in (stored, new)
    )
    if before and after and min(before, after) / max(before, after) < THREADS_DIFFER:
        text = f"{before:.1f} threads computed → {after:.1f}"
        yield Difference("threads", text, before / after)


def _load(stored: Side, new: Side) -> Iterator[Difference]:
    """CPU time that other programs, other guests of the host, or a quota took."""
    before, after = (_lost_share(side) for side in (stored, new))
    if before is None or after is None or abs(after - before) <= SHARE_DIFFERS:
        return
    text = f"others took {100 * before:.0f} % of the CPU time → {100 * after:.0f} %"
    yield Difference("load", text, (1 - min(before, 0.99)) / (1 - min(after, 0.99)))


def _lost_share(side: Side) -> float | None:
    """The share of the usable CPU time that was lost; None where nobody counted."""
    shares = []
    for seen in _conditions(side):
        if not seen.wall_s or seen.busy_cpu_s is None or seen.own_cpu_s is None:
            continue
        whole = seen.wall_s * max(seen.cpus or 1, 1)
        taken = max(seen.busy_cpu_s - seen.own_cpu_s, 0.0) + (seen.stolen_cpu_s or 0.0)
        shares.append(taken / whole + (seen.throttled_s or 0.0) / seen.wall_s)
    return stats.mean_of_known(shares)


def _clock(stored: Side, new: Side) -> Iterator[Difference]:
    before, after = (
        stats.mean_of_known(seen.highest_clock_hz for seen in _conditions(side))
        for side in (stored, new)
    )
    if before and after and max(before, after) / min(before, after) > CLOCK_DIFFERS:
        text = f"{before / 1e9:.2f} GHz → {after / 1e9:.2f} GHz"
        yield Difference("clock", text, before / after)


def _verdict(stored: Side, new: Side) -> Iterator[Difference]:
    """Where the state of the machine allowed more trust on one side."""
    before, after = stored.verdict, new.verdict
    if before.level != after.level:
        text = f"{before.text} → {after.text}"
        yield Difference("verdict", text, is_cause=False)


def _page_faults(stored: Side, new: Side) -> Iterator[Difference]:
    """Where the processes are of other kinds (`bench.analysis.kinds`), the memory is as well."""
    before, after = (
        stats.mean_of_known(map(kinds.faults_per_call, side.rounds)) for side in (stored, new)
    )
    if before is None or after is None:
        return
    low, high = sorted((before, after))
    typical_s = statistics.fmean(statistics.median(record.samples_s) for record in new.rounds)
    if high > kinds.FACTOR * low + kinds.few_faults(typical_s):
        yield Difference("page faults", f"{before:,.0f} a call → {after:,.0f}", is_cause=False)


def _kernels(stored: Side, new: Side) -> Iterator[Difference]:
    """The machine itself, by the calibration kernels; where nothing above explains its speed."""
    if not all(record.block_compute_s for side in (stored, new) for record in side.rounds):
        return
    pairs = zip(kernel_logs(stored.rounds), kernel_logs(new.rounds), strict=True)
    logs = [statistics.fmean(after) - statistics.fmean(before) for before, after in pairs]
    factor = math.exp(max(logs, key=abs))
    if max(factor, 1 / factor) > KERNELS_DIFFER:
        text = f"its calibration kernels take {significant(factor)} times as long"
        yield Difference("speed of the machine", text, factor, is_cause=False)


LOOKS: tuple[Callable[[Side, Side], Iterator[Difference]], ...] = (
    *(_network, _chip, _power_mode, _variables, _settings, _threads, _load, _clock),
    *(_versions, _page_faults, _kernels, _verdict),
)


def _conditions(side: Side) -> list[Conditions]:
    return [record.conditions for record in side.rounds if record.conditions]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
