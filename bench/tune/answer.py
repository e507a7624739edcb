"""The answer of a tuning in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis.settle import Board
from bench.devices import huge_pages
from bench.models import forms
from bench.models.naming import allocation, name, selector, threads
from bench.records import Case, Cost, Peaks
from bench.text import GIGA, significant
from bench.tune import final
from bench.tune.final import Outcome
from bench.tune.search import NO_TIME
from bench.tune.space import SETTINGS
from bench.tune.tuning import Tuning

IN_ORDER = ("form", "backend", "precision", *SETTINGS)  # in which the gain is taken apart


class Step(NamedTuple):
    """Settings that change together, in words, and how much faster they make the network."""

    change: str
    gain: float


def described(case: Case) -> str:
    """Return `repnext_u3_t@rrep openvino, fp32, 2 threads`; the threads are always said."""
    return f"{name(case)} {way(case)}"


def way(case: Case) -> str:
    """Return how a network is run: `openvino, fp32, 2 threads`."""
    words = [case.backend, case.precision, threads(case.threads), allocation(case)]
    return ", ".join(filter(None, words))


def sentence(outcome: Outcome, margin: float) -> str:
    """Return the answer in one or two sentences."""
    baseline = f"{selector(outcome.baseline)} in eager mode"
    ratio = outcome.ratio
    if outcome.candidate is None or ratio is None:
        why = f" ({outcome.why})" if outcome.why else ""
        return (
            f"no answer: nothing was compared with {baseline}{why}. Use a longer --for; if "
            "candidates failed, repair the cause and add --again."
        )
    gains = [1 / each for each in (ratio.point, ratio.high, ratio.low)]
    interval = f"95 % interval {gains[1]:.2f} to {gains[2]:.2f}"
    candidate = described(outcome.candidate)
    if outcome.finding == "FASTER":
        return f"{gains[0]:.2f} times as fast as {baseline} ({interval}): {candidate}."
    if outcome.finding == "SAME":
        within = f"{100 * margin:g} %"
        return f"no gain: {candidate} is as fast as {baseline}, proven within {within}."
    if outcome.finding == "SLOWER":
        return (
            f"no gain: the best form in eager mode, {outcome.baseline.name}, is faster than the "
            f"best other candidate, {candidate} ({gains[0]:.2f} times its speed, {interval})."
        )
    how = outcome.why or "Use a longer --for: the same command continues"
    return (
        f"not decided: {candidate} is {gains[0]:.2f} times as fast as {baseline} ({interval}) "
        f"after {outcome.rounds} rounds. {how}."
    )


def steps(baseline: Case, winner: Case, seconds: Mapping[Case, float]) -> list[Step]:
    """Take the gain of `winner` over `baseline` apart, setting by setting.

    `seconds` are the latencies of the search. Settings between which no candidate was measured
    count together.
    """
    found: list[Step] = []
    here, waiting = baseline, []
    target = baseline
    for each in IN_ORDER:
        before, after = (_shown(each, case) for case in (baseline, winner))
        if before == after:
            continue
        waiting.append(f"{after} instead of {before}")
        target = msgspec.structs.replace(target, **{each: getattr(winner, each)})
        if target in seconds and here in seconds:
            found.append(Step(", ".join(waiting), seconds[here] / seconds[target]))
            here, waiting = target, []
    return found


def origin(found: Sequence[Step]) -> str:
    """Return where the gain comes from, in a sentence; "" without steps."""
    if not found:
        return ""
    parts = [f"{each.change} {each.gain:.2f}" for each in found]
    return f"Where it comes from (times as fast, as the search saw it): {'; '.join(parts)}."


def share_of_peak(cost: Cost, batch: int, latency_s: float, peaks: Peaks) -> float | None:
    """Return batch * MACs / latency over the peak MAC/s; None where MACs were not counted."""
    return cost.macs and batch * cost.macs / latency_s / peaks.macs_per_s


def left(share: float | None, peaks: Peaks | None) -> str:
    """Return how much faster the network could be at most, in a sentence; "" if not known."""
    if not share or share >= 1 or peaks is None:
        return ""
    rate = significant(peaks.macs_per_s / GIGA)
    return (
        f"At most {1 / share:.1f} times as fast is possible in {peaks.precision}: the network "
        f"computes at {share:.0%} of the highest rate of matrix products ({rate} GMAC/s, "
        f"{threads(peaks.threads)})."
    )


def stages(tuning: Tuning, board: Board, seconds: Mapping[Case, float]) -> str:
    """Say whether another form in one stage is faster; "" where that was not asked.

    `seconds` are the latencies of the search, without candidates that were refused.
    """
    if not tuning.space.stages:
        return ""
    tried = {case: seconds[case] for case in seconds if forms.is_mixture(case.form)}
    if not tried:
        return "Stages: no stage was tried in another form."
    best = min(tried, key=tried.__getitem__)
    mixed = next((case for case in tuning.finalists if case in tried), None)
    count = f"the best of {len(tried)} with another form in one stage"
    for given in board.answers:
        others = given.question.cases - {mixed}
        if mixed not in given.question.cases or not others <= set(tuning.finalists):
            continue
        (other,) = others
        finding, ratio = final.seen_from(given, mixed)
        if ratio:
            gain = "it is faster" if finding == "FASTER" else "no gain is proven"
            return (
                f"Stages: {mixed.name} takes {ratio.point:.3f} times as long as {other.name} "
                f"({ratio.low:.3f} to {ratio.high:.3f}), {count}: {gain}."
            )
    if mixed:
        return f"Stages: {mixed.name}, {count}, was not compared in the final: no gain is proven."
    whole = [case for case in seconds if _differ_in_form(case, best) and case not in tried]
    ratio_s = tried[best] / min((seconds[case] for case in whole), default=math.nan)
    return (
        f"Stages: no gain from another form in one stage. {best.name}, {count}, takes "
        f"{significant(ratio_s, 4)} times as long in the search as the network in one form."
    )


def _differ_in_form(one: Case, other: Case) -> bool:
    return msgspec.structs.replace(one, form=other.form) == other


def untried(tuning: Tuning) -> str:
    """Say how many candidates had no turn; "" if all had."""
    count = sum(each.why == NO_TIME for each in tuning.dropped)
    if not count:
        return ""
    return (
        f"Not tried: {count} candidates, since the time for the search was over. To try them, add "
        "--again and a longer --for."
    )


def _shown(setting: str, case: Case) -> str:
    if setting == "threads":
        return threads(case.threads)
    if setting == "huge_pages":
        return huge_pages.label(case.huge_pages) or "the usual pages"
    return str(getattr(case, setting))
