"""Six models of how the latencies of processes vary, and how often an interval holds the truth.

`PYTHONPATH=tests python -m support.noise_models` prints the tables of `docs/method.md`.
"""

import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis import interval, stats
from bench.analysis.ratio import compare
from bench.analysis.stats import Estimate
from bench.harness.plan import PRESETS, Plan
from bench.harness.stopping_rule import is_done
from bench.records import Case, Conditions, Measurement
from support.records import CASE, measurement

LATENCY_S = 0.07
PROCESSES = (4, 6, 12)
LOOKED = (12, 30)  # planned processes; the stopping rule can end a case from its sixth on
TRIALS = 2000
BLOCKS = 6  # of one call
SLOW_FAULTS = 4700 * BLOCKS
KERNEL_S = 1e-3
KERNEL_NOISE = 0.02  # standard deviation of the log of one kernel time


class Noise(NamedTuple):
    """A model of the log of a process's latency; all numbers are standard deviations of logs.

    log(latency) = log(LATENCY_S) + own noise + log(slow) for a `share` of the processes, which has
    more page faults + `felt` * drift. Own noise is normal, or Student's t with three degrees of
    freedom if `heavy`. The drift of the machine has a correlation of 0.8 between rounds.
    """

    name: str
    own: float
    heavy: bool = False
    share: float = 0.0
    slow: float = 1.0
    drift: float = 0.0
    felt: float = 1.0


MODELS = (
    Noise("steady: 3 % between processes", 0.03),
    Noise("heavy tails: Student's t with 3 degrees of freedom", 0.03, heavy=True),
    Noise("two kinds: half of the processes 14 % slower", 0.02, share=0.5, slow=1.14),
    Noise("unequal kinds: one in five processes 14 % slower", 0.01, share=0.2, slow=1.14),
    Noise("a rare kind: one in ten 30 % slower", 0.02, share=0.1, slow=1.3),
    Noise("drift: 3 % of the machine, 1.5 % between processes", 0.015, drift=0.03),
)


def process(noise: Noise, draw: random.Random) -> tuple[float, bool]:
    """Draw the log of a process's latency, without the drift, and whether it is of the slow kind.

    The latency is relative to LATENCY_S.
    """
    own, is_slow = _own(noise, draw), draw.random() < noise.share
    return own + is_slow * math.log(noise.slow), is_slow


def mean_log(noise: Noise) -> float:
    """The expected log of a `process`."""
    return noise.share * math.log(noise.slow)


def states_of(noise: Noise, draw: random.Random) -> Iterator[float]:
    """Yield the log of the machine's speed in each round, without end."""
    state = draw.gauss(0, noise.drift)
    while True:
        yield state
        state = 0.8 * state + draw.gauss(0, 0.6 * noise.drift)


def rounds_of(
    noise: Noise, draw: random.Random, states: Iterator[float], case: Case = CASE
) -> Iterator[Measurement]:
    """Yield the rounds of one case, as many as there are states."""
    for number, state in enumerate(states, 1):
        is_slow = draw.random() < noise.share
        log = _own(noise, draw) + is_slow * math.log(noise.slow) + noise.felt * state
        latency_s = LATENCY_S * math.exp(log)
        kernels = [KERNEL_S * math.exp(state + draw.gauss(0, KERNEL_NOISE)) for _ in range(BLOCKS)]
        yield measurement(
            case,
            number,
            samples_s=[latency_s] * BLOCKS,
            block_sizes=[1] * BLOCKS,
            block_starts_s=[float(block) for block in range(BLOCKS)],
            conditions=Conditions(page_faults=SLOW_FAULTS * is_slow),
            block_compute_s=kernels,
            block_memory_s=kernels,
        )


def _own(noise: Noise, draw: random.Random) -> float:
    if not noise.heavy:
        return draw.gauss(0, noise.own)
    chi_square = sum(draw.gauss(0, 1) ** 2 for _ in range(3))
    return noise.own * draw.gauss(0, 1) / math.sqrt(chi_square)  # t / sqrt(3) * own


def truth(noise: Noise) -> float:
    """The expected latency of all processes in seconds."""
    usual = LATENCY_S * math.exp((noise.own**2 + noise.drift**2) / 2)
    return usual * (1 + noise.share * (noise.slow - 1))


def of_kinds(noise: Noise, rounds: Sequence[Measurement]) -> Noise:
    """The same noise of the only kind of processes that was met, or of all if both were."""
    met = {record.conditions.page_faults > 0 for record in rounds if record.conditions}
    return noise if len(met) == 2 else noise._replace(share=float(True in met))


class Coverage(NamedTuple):
    """Shares of cases whose interval holds the truth.

    ours: ours, of the kinds that were met. of_all: ours, of all processes. plain: the t interval
    that knows neither kinds nor drift, of all processes.
    """

    ours: float
    of_all: float
    plain: float


def coverage(noise: Noise, most: int, trials: int, *, is_stopped: bool = True) -> Coverage:
    """Simulate cases of at most `most` rounds; `is_stopped`: which end by the stopping rule."""
    draw = random.Random(f"{noise.name} {most}")
    cases = [_case(noise, _plan(most, is_stopped), draw) for _ in range(trials)]
    ours = [(interval.interval(case), case) for case in cases]
    plain = [stats.latency([record.samples_s for record in case]) for case in cases]
    return Coverage(
        statistics.fmean(_holds(found, truth(of_kinds(noise, case))) for found, case in ours),
        statistics.fmean(_holds(found, truth(noise)) for found, _ in ours),
        statistics.fmean(_holds(found, truth(noise)) for found in plain),
    )


def _plan(most: int, is_stopped: bool) -> Plan:
    precision = PRESETS["paper"].precision if is_stopped else None
    return msgspec.structs.replace(
        PRESETS["paper"], rounds=most, budget_s=None, precision=precision
    )


def _holds(found: Estimate | None, true: float) -> bool:
    return found is not None and found.low <= true <= found.high


def _case(
    noise: Noise, plan: Plan, draw: random.Random, states: Sequence[float] = (), case: Case = CASE
) -> list[Measurement]:
    rounds: list[Measurement] = []
    for record in rounds_of(noise, draw, iter(states) if states else states_of(noise, draw), case):
        rounds.append(record)
        if len(rounds) >= min(PROCESSES) and is_done(plan, rounds):
            break
    return rounds


class Looks(NamedTuple):
    """The share of cases whose interval holds the truth, of the kinds that were met.

    stopped: the case ends by the stopping rule. fixed: after all planned processes.
    """

    stopped: float
    fixed: float


def looks(noise: Noise, most: int, trials: int) -> Looks:
    """Simulate what it costs that the stopping rule looks at the interval after each round."""
    both = (coverage(noise, most, trials, is_stopped=is_stopped) for is_stopped in (True, False))
    return Looks(*(each.ours for each in both))


class OfRatios(NamedTuple):
    """Shares of ratios whose interval holds the truth, and of twins that were told apart.

    The candidate has the noise. The base is steady: one kind, half of the drift, and own noise of
    the same size. ours: of the kinds that were met, at the times of the rounds. of_all: of all
    processes, at all times. alarms: candidates that were told apart from another candidate.
    """

    ours: float
    of_all: float
    alarms: float


def ratios(noise: Noise, most: int, trials: int) -> OfRatios:
    """Simulate comparisons of two cases that take turns and end by the stopping rule."""
    plan, draw = _plan(most, True), random.Random(f"ratio {noise.name} {most}")
    steady = noise._replace(share=0.0, felt=0.5)
    held = []
    for _ in range(trials):
        states = list(itertools.islice(states_of(noise, draw), most))
        base, candidate, twin = (
            _case(each, plan, draw, states, msgspec.structs.replace(CASE, model=name))
            for name, each in (("base", steady), ("candidate", noise), ("twin", noise))
        )
        found = compare(base, candidate).ratio
        together = min(len(base), len(candidate))
        drift = statistics.fmean(states[:together]) * (noise.felt - steady.felt)
        now = mean_log(of_kinds(noise, candidate)) + drift
        held.append(
            (
                _holds(found, math.exp(now)),
                _holds(found, math.exp(mean_log(noise))),
                compare(candidate, twin).told_apart,
            )
        )
    return OfRatios(*map(statistics.fmean, zip(*held, strict=True)))


def table(
    simulate: Callable[[Noise, int, int], Sequence[float]],
    processes: Sequence[int] = PROCESSES,
    trials: int = TRIALS,
) -> str:
    """A table of `docs/method.md`, in per cent."""
    lines = [
        ["Noise", *(f"{most} processes" for most in processes)],
        [":--", *["--:"] * len(processes)],
    ]
    for noise in MODELS:
        found = [simulate(noise, most, trials) for most in processes]
        lines.append([noise.name, *(" / ".join(f"{100 * s:.0f}" for s in each) for each in found)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table(coverage), table(ratios), table(looks, LOOKED), sep="\n\n")
