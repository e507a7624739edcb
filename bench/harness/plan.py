"""How long a case is measured: the presets, by `--preset`."""

from __future__ import annotations

import math

import msgspec

from bench.records import scenario as scenarios
from bench.records.scenario import Scenario


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a preset asks for, per case.

    A case has at most `rounds` rounds, each in a process of its own. A round has `timed_s` seconds
    of timed iterations, in blocks of `block_s` seconds, and at least `min_samples` iterations.

    `precision` is a relative half-width: a case stops early when the 95 % confidence interval of
    its latency is narrower (None: never). `budget_s` limits the seconds that a case may spend,
    `slow_budget_s` the seconds of a slow case: no round begins that would exceed the limit (None:
    no limit). The budget counts set-up, but neither `load`, which may compile, nor `observe`. A
    case has `least_rounds` rounds whatever the budget, or `rounds` if these are fewer.

    Above batch 1, a case is slow if an iteration takes longer than `slow_s` (for example batch 128
    on a small CPU). A slow case is timed `slow_samples` times per round, one iteration per block,
    with no discarded calls and no warm-up after the first call.

    With `patience` above 0, a block waits until the machine is quiet, for at most this share of the
    seconds of the run; a round that other programs disturb all the same is measured again.

    A GPU is observed for `observe_s` seconds once per case, after its blocks. The fake device
    sleeps `pace_s` seconds in each block. A child that sends nothing for `deadline_s` seconds is
    killed.
    """

    preset: str
    rounds: int
    timed_s: float
    block_s: float
    warmup_s: float
    budget_s: float | None
    slow_budget_s: float | None
    precision: float | None = 0.02
    least_rounds: int = 3
    min_samples: int = 5
    slow_samples: int = 3
    slow_s: float = 1.5
    patience: float = 0.0
    observe_s: float = 10.0
    pace_s: float = 0.0
    deadline_s: float = 600.0

    def exactly(self, rounds: int, **changes: float) -> Plan:
        """Return the plan with `changes` and `rounds`; no precision or budget ends a case."""
        unbound = {"precision": None, "budget_s": None, "slow_budget_s": None}
        return msgspec.structs.replace(self, rounds=rounds, **unbound, **changes)

    def within(self, scenario: Scenario) -> Plan:
        """Return the plan of a case in `scenario`, of which the chip is not observed besides.

        No call counts as slow but one of a pipeline. A start of a process is one sample. At a fixed
        rate, a round is PACED times as long, since each sample takes 1 / rate; a sustained round
        has a block for each tenth of its time.
        """
        if scenario.kind == scenarios.TIGHT:
            return self
        changes: dict[str, float] = {"observe_s": 0.0}
        if scenario.kind != scenarios.PIPELINE:
            changes["slow_s"] = NEVER_SLOW_S
        if scenario.kind == scenarios.COLD:
            changes |= {"timed_s": 0.0, "block_s": 0.0, "min_samples": 1}
        if scenario.kind == scenarios.PACE:
            changes |= {"timed_s": PACED * self.timed_s, "block_s": PACED * self.block_s}
        if scenario.kind == scenarios.SUSTAINED:
            changes |= {"timed_s": scenario.amount, "block_s": scenario.amount / TENTHS}
        return msgspec.structs.replace(self, **changes)


class ProfilePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What profiling a case asks for, per round.

    Plain and profiled blocks of `block_s` seconds alternate for `seconds`. `observe_s` is how long
    the driver's utilisation is read (0: not at all). `peaks` asks for the device's peak rates,
    `trace` for the raw trace of the last block.
    """

    seconds: float
    block_s: float = 0.15
    observe_s: float = 0.0
    peaks: bool = False
    trace: bool = False


PROFILE_S = {"quick": 4.5, "default": 9.0, "paper": 30.0}
PROFILE_ROUNDS = 3

PRESETS = {
    plan.preset: plan
    for plan in (
        Plan(
            preset="quick",
            rounds=3,
            timed_s=1.0,
            block_s=0.25,
            warmup_s=0.3,
            budget_s=20,
            slow_budget_s=20,
            slow_samples=1,
        ),
        Plan(
            preset="default",
            rounds=6,
            timed_s=2.0,
            block_s=0.4,
            warmup_s=0.5,
            budget_s=38,
            slow_budget_s=240,
            slow_samples=1,
        ),
        Plan(
            preset="paper",
            rounds=12,
            timed_s=6.0,
            block_s=0.5,
            warmup_s=1.0,
            budget_s=180,
            slow_budget_s=1200,
        ),
    )
}


NEVER_SLOW_S = 1e9
PACED = 10  # times as many seconds of a round, and of a block, as in a tight loop
TENTHS = 10  # blocks of a sustained round

MOST_SAMPLES = 10**5  # of one record
GROUPED_BELOW_S = 50e-6  # shorter calls are timed in groups
SHORTEST_GROUP_S = 100e-6


def calls_per_sample(iteration_s: float, timed_s: float = 0.0) -> int:
    """Return how many calls make one sample: 1, or enough for SHORTEST_GROUP_S.

    There are more where `timed_s` seconds would have more samples than MOST_SAMPLES.
    """
    grouped = 1 if iteration_s >= GROUPED_BELOW_S else math.ceil(SHORTEST_GROUP_S / iteration_s)
    return max(grouped, math.ceil(timed_s / iteration_s / MOST_SAMPLES))


def is_slow(plan: Plan, batch: int, iteration_s: float) -> bool:
    """Whether batch > 1 and iteration_s > plan.slow_s: warm-up would then cost minutes.

    Batch 1 is never slow: a latency needs `min_samples` samples, however long they take.
    """
    return batch > 1 and iteration_s > plan.slow_s
