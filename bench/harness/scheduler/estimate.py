"""Estimates how long a run takes, from the plan and the progress of each case."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bench.analysis.disturbance import counted
from bench.backends import BACKENDS
from bench.devices import DEVICES
from bench.harness.plan import Plan, is_slow
from bench.harness.stopping_rule import is_done
from bench.records import Case
from bench.records.scenario import COLD, TIGHT
from bench.storage.history import History

# Guesses for cases without a measurement. The speed of a device is in its driver.
SETUP_S = 2.5  # per case-round: start, build, fuse, load, check
SCRIPTED_SETUP_S = 0.1  # on a simulated device, where no network runs
LARGE_BATCH = 16
UNKNOWN_MACS = 4.5e9  # per image of 224 pixels
START_S = 6.0  # of a process, with the imports of torch and timm
TRAINING_CHECKS = 2  # steps before the first call and for images that were never seen
TRAINING_FACTOR = 3.0  # the backward pass computes two products for each one of the forward pass


class CaseProgress(msgspec.Struct, frozen=True):
    """The progress of one case: seconds per iteration, finished rounds, samples of this round."""

    iteration_s: float
    rounds_done: int = 0
    samples: int = 0


def guess_iteration_s(case: Case, macs: float | None) -> float:
    """Estimate the seconds of one iteration; `macs` are per image at 224 pixels.

    t = call_s + batch * macs * (resolution / 224)^2 / rate. `rate` is in MAC/s, for one thread or
    for the whole device, as its driver says. A training step is TRAINING_FACTOR times as long,
    and START_S come first where a process starts.
    """
    macs = (macs or UNKNOWN_MACS) * (case.resolution / 224) ** 2
    speed = DEVICES[case.device].speed
    rate = speed.macs_per_s if case.batch < LARGE_BATCH else speed.macs_per_s_large
    rate *= case.threads if speed.per_thread else 1
    factor = TRAINING_FACTOR if case.trains else 1.0
    start_s = START_S if case.when.kind == COLD and DEVICES[case.device].runs_torch else 0.0
    return start_s + speed.call_s + factor * case.batch * macs / rate


def warm_up_s(plan: Plan, batch: int, iteration_s: float) -> float:
    """Seconds of the first call and the warm-up of a case-round; a slow case has no warm-up."""
    if is_slow(plan, batch, iteration_s):
        return iteration_s
    return (1 + max(2.0, plan.warmup_s / iteration_s)) * iteration_s


def kinds_of_block(case: Case) -> int:
    """How many times each block of iterations runs.

    Every device runs the timed block. A device with a queue also runs a block timed by its own
    clock, and above batch 1 a pipelined block.
    """
    if not _has_real_queue(case) or case.scenario != TIGHT:
        return 1
    return 2 if case.batch == 1 else 3


def _has_real_queue(case: Case) -> bool:
    """Whether device-clock blocks and observing the chip take real time (not so if simulated)."""
    driver = DEVICES[case.device]
    return driver.has_queue and driver.runs_torch


def work_s(plan: Plan, batch: int, iteration_s: float, kinds: int = 1) -> float:
    """Seconds that the network runs in one case-round; `kinds` is from `kinds_of_block`.

    This is the first call, the warm-up, the discarded calls and the blocks; for a slow case also
    the call on images that it never saw.
    """
    if is_slow(plan, batch, iteration_s):
        return (2 + plan.slow_samples * kinds) * iteration_s
    samples = max(plan.min_samples, plan.timed_s / iteration_s)
    discarded = samples / max(1, round(plan.block_s / iteration_s))
    return warm_up_s(plan, batch, iteration_s) + (discarded + samples * kinds) * iteration_s


def _work_s(plan: Plan, case: Case, iteration_s: float) -> float:
    """Seconds of calls and of the pauses between them in one case-round."""
    if case.when.kind == COLD:
        return iteration_s
    span_s = case.when.span_s(iteration_s)
    if span_s == iteration_s:
        return work_s(plan, case.batch, iteration_s, kinds_of_block(case))
    return warm_up_s(plan, case.batch, iteration_s) + max(plan.timed_s, plan.min_samples * span_s)


def round_s(plan: Plan, case: Case, iteration_s: float, setup_s: float | None) -> float:
    """Seconds that a case-round takes: `work_s` plus `setup_s`, the time outside the network.

    `setup_s` of None is taken as SETUP_S. The time of a simulated device is scripted: such a
    device only sleeps `plan.pace_s` in each block.
    """
    plan = plan.within(case.when)
    if DEVICES[case.device].runs_torch:
        setup_s = SETUP_S if setup_s is None else setup_s
        setup_s += TRAINING_CHECKS * iteration_s if case.trains else 0.0
        return _work_s(plan, case, iteration_s) + setup_s
    samples = max(plan.min_samples, plan.timed_s / iteration_s)
    blocks = samples / max(1, round(plan.block_s / iteration_s))
    return blocks * plan.pace_s + SCRIPTED_SETUP_S


def planned_rounds(
    plan: Plan, case: Case, progress: CaseProgress, setup_s: float | None = None
) -> int:
    """Return min(plan.rounds, max(plan.least_rounds, floor(budget_s / round_s))).

    Without a budget, return plan.rounds.
    """
    slow = is_slow(plan, case.batch, progress.iteration_s)
    budget_s = plan.slow_budget_s if slow else plan.budget_s
    if budget_s is None:
        return plan.rounds
    each_s = round_s(plan, case, progress.iteration_s, setup_s)
    return min(plan.rounds, max(plan.least_rounds, int(budget_s / each_s)))


def remaining_s(
    plan: Plan, progress: Mapping[Case, CaseProgress], setup_s: float | None = None
) -> float:
    """Seconds until every case has all of its planned rounds."""
    total = 0.0
    for case, known in progress.items():
        rounds = planned_rounds(plan, case, known, setup_s) - known.rounds_done
        if rounds > 0:
            each_s = round_s(plan, case, known.iteration_s, setup_s)
            work = _work_s(plan.within(case.when), case, known.iteration_s)
            done = known.samples * case.when.span_s(known.iteration_s) / work
            total += each_s * (rounds - min(done, 1.0))
            if not known.rounds_done:
                total += _first_s(plan, case)
    return total


def _first_s(plan: Plan, case: Case) -> float:
    """Seconds that the first round of a case takes longer: to compile, export, and observe."""
    if not DEVICES[case.device].runs_torch:
        return 0.0
    return BACKENDS[case.backend].first_s + plan.observe_s * _has_real_queue(case)


def initial_progress(
    plan: Plan,
    histories: Mapping[Case, History],
    macs: Mapping[str, float],
    *,
    retry_failed: bool = False,
) -> dict[Case, CaseProgress]:
    """Return the progress of each case that still needs a round.

    The time of an iteration is the fastest on record, or else estimated from `macs`, which maps a
    case's name to multiply-accumulates per image.
    """
    progress = {}
    for case, (rounds, failure) in histories.items():
        if is_done(plan, rounds) or (failure and not retry_failed):
            continue
        if rounds:
            iteration_s = min(min(record.samples_s) for record in rounds)
        else:
            iteration_s = guess_iteration_s(case, macs.get(case.name))
        progress[case] = CaseProgress(iteration_s, len(counted(rounds)))
    return progress
