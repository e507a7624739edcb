"""Lines on whole runs: checks of networks, the profile's sum, and a fault that must be named."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from bench.analysis.profile.breakdown import RESIDUAL_LIMIT, adds_up
from bench.analysis.profile.recorded import ProfileHistory
from bench.analysis.reasons import Doubt
from bench.analysis.verdict import Machine, judge, quiet_of
from bench.diagnostics.hardware.line import Line, failure, impossible, judged
from bench.diagnostics.hardware.spread import BUSY, WIDEST, interval
from bench.records import Case, Failure, Measurement, Profile
from bench.storage.history import History
from bench.text import some_of

PROFILE = "profile's sum against the plain latency"
FAULT = "a process that computes is named"
NAMES_IT = {Doubt.FOREIGN, Doubt.OTHERS, Doubt.COMPUTE}


def waiting(name: str, done: str = "") -> Line:
    """Return a line that the next call measures, with what is `done` so far."""
    return impossible(name, done or "not measured yet", next_call="resumes")


def checks(name: str, cases: Sequence[Case], histories: Sequence[History]) -> Line:
    """Judge the checks of `cases`; a case without a round and without a failure was not run."""
    failures = [each.failure for each in histories if each.failure]
    passed = sum(bool(each.rounds) for each in histories if not each.failure)
    raw = {"failed": {each.case.name: f"{each.stage}: {each.message}" for each in failures}}
    rest = len(cases) - passed - len(failures)
    if rest and not failures:
        return waiting(name, f"{passed} of {len(cases)} networks are checked so far; all passed")
    line = judged(
        name,
        not failures,
        seen=f"{passed} of {len(cases)} networks agree with eager fp32 on the CPU",
        limit="all, each within its own tolerance",
        why=some_of([_reason(each) for each in failures])
        + (f"; {rest} networks are not checked yet" if rest else ""),
        raw=raw,
    )
    return msgspec.structs.replace(line, next_call="resumes") if rest else line


def _reason(failure: Failure) -> str:
    return f"{failure.case.name} at {failure.stage}: {failure.message}"


def profile(history: ProfileHistory) -> Line:
    """Judge whether operators, gaps and waiting add up to the latency without the profiler.

    NOT POSSIBLE where the latency itself varies too much between iterations.
    """
    if history.failure:
        return failure(PROFILE, _reason(history.failure))
    terms = history.profile.waterfall
    share = terms.residual_s / terms.plain_s
    parts = {"operators": terms.busy_s, "gaps": terms.gaps_s, "waiting": terms.sync_s}
    listed = ", ".join(f"{name} {1e3 * seconds:.3f} ms" for name, seconds in parts.items())
    seen = f"plain {1e3 * terms.plain_s:.3f} ms; {listed}; rest {100 * share:.1f} %"
    limit = f"the rest is at most {100 * RESIDUAL_LIMIT:g} % of the plain latency"
    raw = {**parts, "plain": terms.plain_s, "residual": terms.residual_s}
    uncertain = _uncertainty(history.rounds)
    if uncertain > WIDEST or (not adds_up(terms) and abs(share) - uncertain < RESIDUAL_LIMIT):
        varied = f"the plain latency is only known within {100 * uncertain:.0f} %: {BUSY}"
        return impossible(PROFILE, varied, raw, seen=seen, limit=limit, next_call="repeats")
    why = "the parts do not add up to the plain latency"
    return judged(PROFILE, adds_up(terms), seen=seen, limit=limit, why=why, raw=raw)


def _uncertainty(rounds: Sequence[Profile]) -> float:
    """Return the interval of the median plain latency: its wider side / the median.

    Each sample is divided by the median of its round. Processes differ by more, but the parts of a
    round differ as its latency does.
    """
    typical = [(each.plain_samples_s, statistics.median(each.plain_samples_s)) for each in rounds]
    median, low, high = interval([one / usual for samples, usual in typical for one in samples])
    return max(median - low, high - median) / median


def fault(clean: Measurement, disturbed: Measurement) -> Line:
    """Judge whether the verdict names a process that the clean round did not have.

    A calibration kernel is compared with its time in the clean round.
    """
    machine = Machine(quiet_of([clean]))
    before, verdict = judge(clean, machine), judge(disturbed, machine)
    levels = {reason.observation: reason.level for reason in before.reasons}
    named = [
        reason
        for reason in verdict.reasons
        if reason.doubt in NAMES_IT and levels.get(reason.observation) != reason.level
    ]
    raw = {"clean": before.text, "disturbed": verdict.text}
    if not named and any(reason.doubt in NAMES_IT for reason in before.reasons):
        disturbed_before = f"the device was disturbed without it, too: {before.text}; {BUSY}"
        return impossible(FAULT, disturbed_before, raw, next_call="repeats")
    return judged(
        FAULT,
        bool(named),
        seen=f"{verdict.text} (without it: {before.text})",
        limit="the verdict gains a reason that names other processes or slower computation",
        why="the verdict does not tell the disturbed round from the clean one",
        raw=raw,
    )
