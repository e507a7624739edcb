"""Six models of how the latencies of processes vary, and how often an interval holds the truth.

`PYTHONPATH=tests python -m support.noise_models` prints the table of `docs/method.md`.
"""

import itertools
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis import interval, stats
from bench.analysis.stats import Estimate
from bench.harness.plan import PRESETS, Plan
from bench.harness.stopping_rule import is_done
from bench.records import Conditions, Measurement
from support.records import CASE, measurement

LATENCY_S = 0.07
PROCESSES = (4, 6, 12)
TRIALS = 2000
BLOCKS = 6  # of one call
SLOW_FAULTS = 4700 * BLOCKS
KERNEL_S = 1e-3
KERNEL_NOISE = 0.02  # standard deviation of the log of one kernel time


class Noise(NamedTuple):
    """A model of the log of a process's latency; all numbers are standard deviations of logs.

    log(latency) = log(LATENCY_S) + own noise + log(slow) for a `share` of the processes, which has
    more page faults + drift. Own noise is normal, or Student's t with three degrees of freedom if
    `heavy`. The drift of the machine has a correlation of 0.8 between rounds.
    """

    name: str
    own: float
    heavy: bool = False
    share: float = 0.0
    slow: float = 1.0
    drift: float = 0.0


MODELS = (
    Noise("steady: 3 % between processes", 0.03),
    Noise("heavy tails: Student's t with 3 degrees of freedom", 0.03, heavy=True),
    Noise("two kinds: half of the processes 14 % slower", 0.02, share=0.5, slow=1.14),
    Noise("unequal kinds: one in five processes 14 % slower", 0.01, share=0.2, slow=1.14),
    Noise("a rare kind: one in ten 30 % slower", 0.02, share=0.1, slow=1.3),
    Noise("drift: 3 % of the machine, 1.5 % between processes", 0.015, drift=0.03),
)


def log_of_process(noise: Noise, draw: random.Random) -> float:
    """Draw the log of a process's latency, relative to LATENCY_S and without the drift."""
    return _own(noise, draw) + (draw.random() < noise.share) * math.log(noise.slow)


def mean_log(noise: Noise) -> float:
    """The expected value of `log_of_process`."""
    return noise.share * math.log(noise.slow)


def rounds_of(noise: Noise, draw: random.Random) -> Iterator[Measurement]:
    """Yield the rounds of one case, without end."""
    state = draw.gauss(0, noise.drift)
    for number in itertools.count(1):
        is_slow = draw.random() < noise.share
        log = _own(noise, draw) + is_slow * math.log(noise.slow) + state
        latency_s = LATENCY_S * math.exp(log)
        kernels = [KERNEL_S * math.exp(state + draw.gauss(0, KERNEL_NOISE)) for _ in range(BLOCKS)]
        yield measurement(
            CASE,
            number,
            samples_s=[latency_s] * BLOCKS,
            block_sizes=[1] * BLOCKS,
            block_starts_s=[float(block) for block in range(BLOCKS)],
            conditions=Conditions(page_faults=SLOW_FAULTS * is_slow),
            block_compute_s=kernels,
            block_memory_s=kernels,
        )
        state = 0.8 * state + draw.gauss(0, 0.6 * noise.drift)


def _own(noise: Noise, draw: random.Random) -> float:
    if not noise.heavy:
        return draw.gauss(0, noise.own)
    chi_square = sum(draw.gauss(0, 1) ** 2 for _ in range(3))
    return noise.own * draw.gauss(0, 1) / math.sqrt(chi_square)  # t / sqrt(3) * own


def truth(noise: Noise) -> float:
    """The expected latency of all processes in seconds."""
    usual = LATENCY_S * math.exp((noise.own**2 + noise.drift**2) / 2)
    return usual * (1 + noise.share * (noise.slow - 1))


def truth_of_kinds(noise: Noise, rounds: Sequence[Measurement]) -> float:
    """The expected latency in seconds: of the only kind that was met, else of all processes."""
    met = {record.conditions.page_faults > 0 for record in rounds if record.conditions}
    if len(met) == 2:
        return truth(noise)
    return truth(noise._replace(share=float(True in met)))


class Coverage(NamedTuple):
    """Shares of cases whose interval holds the truth.

    ours: ours, of the kinds that were met. of_all: ours, of all processes. plain: the t interval
    that knows neither kinds nor drift, of all processes. shown: the share of cases that have our
    interval; only these count for ours and of_all.
    """

    ours: float
    of_all: float
    plain: float
    shown: float


def coverage(noise: Noise, most: int, trials: int) -> Coverage:
    """Simulate cases of at most `most` rounds, which end by the stopping rule."""
    plan = msgspec.structs.replace(PRESETS["paper"], rounds=most, budget_s=None)
    draw = random.Random(f"{noise.name} {most}")
    cases = [_case(noise, plan, draw) for _ in range(trials)]
    ours = [(found, case) for case in cases if (found := interval.interval(case))]
    plain = [stats.latency([record.samples_s for record in case]) for case in cases]
    return Coverage(
        statistics.fmean(_holds(found, truth_of_kinds(noise, case)) for found, case in ours),
        statistics.fmean(_holds(found, truth(noise)) for found, _ in ours),
        statistics.fmean(_holds(found, truth(noise)) for found in plain),
        len(ours) / trials,
    )


def _holds(found: Estimate | None, true_s: float) -> bool:
    return found is not None and found.low <= true_s <= found.high


def _case(noise: Noise, plan: Plan, draw: random.Random) -> list[Measurement]:
    rounds: list[Measurement] = []
    for record in rounds_of(noise, draw):
        rounds.append(record)
        if len(rounds) >= min(PROCESSES) and is_done(plan, rounds):
            break
    return rounds


def table(trials: int = TRIALS) -> str:
    """The table of `docs/method.md`, in per cent: the fields of Coverage."""
    lines = [
        ["Noise", *(f"{most} processes" for most in PROCESSES)],
        [":--", *["--:"] * len(PROCESSES)],
    ]
    for noise in MODELS:
        found = [coverage(noise, most, trials) for most in PROCESSES]
        lines.append([noise.name, *(" / ".join(f"{100 * s:.0f}" for s in each) for each in found)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table())
