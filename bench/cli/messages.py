"""What a run says of its cases in one line each, on terminals and in files."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.profile.recorded import ProfileHistory
from bench.analysis.stats import Summary
from bench.cli.tracker import Tracker
from bench.models.naming import selector
from bench.records import Case, Failure
from bench.text import duration, plus_minus, significant


def numbers(case: Case, summary: Summary | None) -> tuple[str, str, str]:
    """Mean ± standard deviation in ms, images per second, number of samples; "" if unknown."""
    if summary is None:
        return ("", "", "")
    return (
        plus_minus(summary.mean * 1e3, summary.std * 1e3),
        significant(case.batch / summary.median),
        str(summary.samples),
    )


def row(case: Case, summary: Summary, remark: str) -> str:
    """The numbers of a case so far, and how far its measurement is."""
    latency, speed, count = numbers(case, summary)
    name = f"{selector(case):<32} batch {case.batch:<4}"
    return f"{name} {latency:>14} ms {speed:>6} img/s  n={count:<5} {remark}"


def failed(failure: Failure) -> str:
    """Which case failed, at which stage, and why."""
    case, message = failure.case, " ".join(failure.message.split())
    what = f"{selector(case)} at batch {case.batch} failed at {failure.stage}"
    return f"{what}: {failure.error}: {message}"


def opening(todo: Sequence[Case], done: Sequence[Case], tracker: Tracker) -> str:
    """How many cases are on record, how many are not, and how long those take."""
    on_record = f"{len(done)} on record, " if done else ""
    left = f", about {duration(tracker.left_s())}" if todo else ""
    return f"{on_record}{len(todo)} to measure{left}"


def profiled(known: ProfileHistory) -> str:
    """How the profile of a case went: the latency, and the share that no operator explains."""
    if known.failure:
        return failed(known.failure)
    record = known.profile
    waterfall = record.waterfall
    residual = 100 * waterfall.residual_s / waterfall.plain_s
    spent = duration(sum(record.plain_samples_s) + sum(record.profiled_samples_s))
    name = selector(record.case)
    return f"{name}: {1e3 * waterfall.plain_s:.1f} ms, residual {residual:+.1f} %, in {spent}"
