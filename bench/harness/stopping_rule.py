"""When a case is done: the rule that ends it, and why.

The rule is a pure function of the plan and the records. A run that was killed and resumed
therefore stops at the same round as an uninterrupted run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.disturbance import counted, undisturbed
from bench.analysis.interval import interval
from bench.analysis.settings import alike
from bench.harness.plan import Plan, is_slow
from bench.records import Measurement, StopReason

MIN_ROUNDS_FOR_PRECISION = 6  # with fewer rounds, an interval is often narrow by chance
NOISE_WINDOW_ROUNDS = 3


def stopped_by(plan: Plan, records: Sequence[Measurement]) -> StopReason:
    """Return why the case stops after `records` (one per round), or "round" if it continues.

    "precision": after each of the last two rounds, the relative half-width of the 95 % confidence
    interval (`bench.analysis.interval`) was at most `plan.precision`; a single narrow interval is
    often narrow by chance. `docs/method.md` has what these repeated looks cost in coverage.
    "noise": the interval is not narrower than NOISE_WINDOW_ROUNDS rounds ago, so further rounds
    would not help. "rounds": all planned rounds are done. "budget": seconds spent + seconds of the
    longest round > budget, but never before `plan.least_rounds` rounds. A round that another
    network disturbed is repeated once, and does not count; it is not repeated where the planned
    rounds are done without it.
    """
    counting = counted(records)
    if not counting or counting[-1] is not records[-1]:
        return "rounds" if len(counting) >= plan.rounds else "round"
    calm = undisturbed(counting)
    if plan.precision is not None and len(calm) >= MIN_ROUNDS_FOR_PRECISION:
        width = _half_width(calm)
        if max(width, _half_width(calm[:-1])) <= plan.precision:
            return "precision"
        if len(calm) >= NOISE_WINDOW_ROUNDS + MIN_ROUNDS_FOR_PRECISION and (
            width >= _half_width(calm[:-NOISE_WINDOW_ROUNDS])
        ):
            return "noise"
    if len(counting) >= plan.rounds:
        return "rounds"
    if len(counting) < plan.least_rounds:
        return "round"
    spent = [_spent_s(record) for record in counting]
    slow = any(is_slow(plan, r.case.batch, min(r.samples_s)) for r in counting)
    budget_s = plan.slow_budget_s if slow else plan.budget_s
    if budget_s is not None and sum(spent) + max(spent) > budget_s:
        return "budget"
    return "round"


def _spent_s(record: Measurement) -> float:
    """Return the seconds of a round that the budget counts: total - load - observe + share."""
    stages = record.stages_s
    return stages.total - stages.load - stages.observe + record.share_s


def is_done(plan: Plan, records: Sequence[Measurement]) -> bool:
    """Whether the plan asks for no further round after `records`."""
    return bool(records) and stopped_by(plan, records) != "round"


def _half_width(records: Sequence[Measurement]) -> float:
    """Return half the width of the 95 % confidence interval of the latency / the latency.

    Only rounds of equal settings count; inf where they are too few.
    """
    estimate = interval(alike(records))
    return estimate.half_width if estimate else math.inf
