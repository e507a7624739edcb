"""How long a case is measured: the presets, and the rule that ends it.

The rule is a pure function of the plan and of what is on record, so a run that was killed and
resumed stops where one left alone would have.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.records import Measurement, StopReason


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a preset asks for, per case.

    `rounds` processes, each with `timed_s` seconds of timed iterations in blocks of `block_s`,
    and at least `min_samples` of them. Above batch 1, an iteration longer than `slow_s` (128
    images on a small CPU) is timed `slow_samples` times a process, one in each turn, with no
    discarded call and no warm-up beyond the first. `budget_s` and `slow_budget_s` bound what a
    case spends in all, set-up included: no round is begun that would exceed it; None is no
    bound. `pace_s` is how long the fake device really sleeps in a block. A child that says
    nothing for `deadline_s` is given up.
    """

    preset: str
    rounds: int
    timed_s: float
    block_s: float
    warmup_s: float
    budget_s: float | None
    slow_budget_s: float | None
    min_samples: int = 5
    slow_samples: int = 3
    slow_s: float = 1.5
    pace_s: float = 0.0
    deadline_s: float = 600.0


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

    "rounds": as many as planned. "budget": another round like the dearest would exceed it.
    """
    if len(records) >= plan.rounds:
        return "rounds"
    spent = [record.stages_s.total + record.share_s for record in records]
    slow = any(is_slow(plan, r.case.batch, min(r.samples_s)) for r in records)
    budget_s = plan.slow_budget_s if slow else plan.budget_s
    if budget_s is not None and sum(spent) + max(spent) > budget_s:
        return "budget"
    return "round"


def is_done(plan: Plan, records: Sequence[Measurement]) -> bool:
    """Whether the case needs no further round: it was ended, and not by fewer rounds than asked."""
    if not records:
        return False
    reason = records[-1].stopped_by
    return reason != "round" and (reason != "rounds" or len(records) >= plan.rounds)
