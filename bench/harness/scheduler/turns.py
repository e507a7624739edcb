"""The turns of a wave: blocks of all children, one after another, in an order that reverses."""

from __future__ import annotations

from collections.abc import Callable

from bench.harness.protocol.messages import Job
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.child import CaseError
from bench.harness.scheduler.listener import Listener
from bench.harness.scheduler.patience import Patience
from bench.harness.scheduler.watch import Restless, Watch, neighbour


def take_turns(
    children: list[CaseRound],
    listener: Listener,
    fail: Callable[[Job, CaseError], None],
    patience: Patience,
) -> list[Restless]:
    """Time blocks in turns until each child has enough samples.

    Calls `fail` for each child that fails. Removes the failed and the restless children from
    `children`; returns the restless ones.
    """
    watch = Watch(children)
    restless: list[Restless] = []
    active = list(children)
    while active:
        for child in active:
            if child not in children:
                continue
            watch.await_quiet(child, children)
            try:
                patience.timed(child.case, child.time_block(patience.wait(child.case)))
            except CaseError as error:
                children.remove(child)
                fail(child.job, error)
            else:
                restless += end_restless(watch, child, children)
                listener.sampled(child.case, child.earlier, child.samples)
        still = [child for child in active if child in children and not child.has_enough()]
        active = still[::-1]
    return restless


def end_restless(watch: Watch, timed: CaseRound, children: list[CaseRound]) -> list[Restless]:
    """End and remove the children that computed while `timed` had its turn; mark its round."""
    found = watch.restless(timed, children)
    for child, share in found:
        child.kill()
        children.remove(child)
        timed.disturbed_by.append(neighbour(child.case, share))
    return found
