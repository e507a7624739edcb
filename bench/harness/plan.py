"""How long a case is measured: the presets, and the rule that ends it.

The rule is a pure function of the plan and of what is on record, so a run that was killed and
resumed stops where one left alone would have.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.analysis import stats
from bench.records import Measurement, StopReason

FEWEST_ROUNDS = 6  # before an interval may end a case: that of fewer is narrow by chance too often
LOOK_BACK = 3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a preset asks for, per case.

    `rounds` processes, each with `timed_s` seconds of timed iterations in blocks of `block_s`,
    and at least `min_samples` of them; fewer rounds where the interval of the latency is within
    `precision` of it already (None: just as many as `rounds`). Above batch 1, an iteration longer
    than `slow_s` (128 images on a small CPU) is timed `slow_samples` times a process, one in each
    turn, with no discarded call and no warm-up beyond the first. `budget_s` and `slow_budget_s`
    bound what a case spends, set-up included but for loading, which may mean compiling: no round
    is begun that would exceed it; None is no bound. A GPU is observed for `observe_s` once a case,
    after its blocks. `pace_s` is how long the fake device really sleeps in a block. A child that
    says nothing for `deadline_s` is given up.
    """

    preset: str
    rounds: int
    timed_s: float
    block_s: float
    warmup_s: float
    budget_s: float | None
    slow_budget_s: float | None
    precision: float | None = 0.02
    min_samples: int = 5
    slow_samples: int = 3
    slow_s: float = 1.5
    observe_s: float = 10.0
    pace_s: float = 0.0
    deadline_s: float = 600.0


class ProfilePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What profiling a case asks for: seconds of plain and profiled blocks in turns, and whether
    the peaks of the device are wanted too, and the last block's trace as it is."""

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
        ),
        Plan(
            preset="default",
            rounds=6,
            timed_s=2.0,
            block_s=0.4,
            warmup_s=0.5,
            budget_s=38,
            slow_budget_s=240,
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


def is_slow(plan: Plan, batch: int, iteration_s: float) -> bool:
    """Whether an iteration is so long that warm-up and discarded calls would cost minutes.

    Batch 1 is a latency, which is worth five samples however long they take.
    """
    return batch > 1 and iteration_s > plan.slow_s


def stopped_by(plan: Plan, records: Sequence[Measurement]) -> StopReason:
    """Why the case ends with the last of its `records` (one per round), or "round" if it goes on.

    "precision": the 95 % interval of the latency was as narrow as asked twice in succession, as
    once it is by chance too often. "noise": it has not
    become narrower in three rounds, so more would not help. "rounds": as many as planned.
    "budget": another round like the dearest would exceed it.
    """
    if plan.precision is not None and len(records) >= FEWEST_ROUNDS:
        width = _half_width(records)
        if max(width, _half_width(records[:-1])) <= plan.precision:
            return "precision"
        if len(records) >= LOOK_BACK + FEWEST_ROUNDS and width >= _half_width(records[:-LOOK_BACK]):
            return "noise"
    if len(records) >= plan.rounds:
        return "rounds"
    spent = [_spent_s(record) for record in records]
    slow = any(is_slow(plan, r.case.batch, min(r.samples_s)) for r in records)
    budget_s = plan.slow_budget_s if slow else plan.budget_s
    if budget_s is not None and sum(spent) + max(spent) > budget_s:
        return "budget"
    return "round"


def _spent_s(record: Measurement) -> float:
    """Seconds of a round that its budget counts: not compiling, nor observing the chip."""
    stages = record.stages_s
    return stages.total - stages.load - stages.observe + record.share_s


def is_done(plan: Plan, records: Sequence[Measurement]) -> bool:
    """Whether `plan` asks for no further round."""
    return bool(records) and stopped_by(plan, records) != "round"


def _half_width(records: Sequence[Measurement]) -> float:
    """Half the 95 % interval of the latency, relative to it."""
    estimate = stats.latency([record.samples_s for record in records])
    assert estimate is not None
    return estimate.half_width
