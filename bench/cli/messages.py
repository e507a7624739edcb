"""The lines that a run prints about its cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.profile.recorded import ProfileHistory
from bench.analysis.stats import Summary
from bench.cli.tracker import Tracker
from bench.models.naming import selector
from bench.records import Case, Failure, Measurement
from bench.text import duration, significant

FIRST_WAIT = (
    "starting: a process imports torch and timm; then each network is built, checked and warmed up"
)


def number_cells(case: Case, summary: Summary | None) -> tuple[str, str, str]:
    """Return the latency in ms, images/s = batch / latency, and the number of samples.

    Each cell is "" if there is no summary, and so are the images/s where calls do not follow one
    another.
    """
    if summary is None:
        return ("", "", "")
    speed = case.throughput(summary.latency)
    return (
        significant(summary.latency * 1e3),
        "" if speed is None else significant(speed),
        str(summary.samples),
    )


def case_line(case: Case, summary: Summary, remark: str) -> str:
    """Return a line with the numbers of a case so far, and a remark on its progress."""
    latency, speed, count = number_cells(case, summary)
    name = f"{selector(case):<32} batch {case.batch:<4}"
    rate = f"{speed:>6} img/s" if speed else " " * 12
    return f"{name} {latency:>6} ms {rate}  n={count:<5} {remark}"


def failure_line(failure: Failure) -> str:
    """Return a line that says which case failed, at which stage, and why."""
    case, message = failure.case, " ".join(failure.message.split())
    what = f"{selector(case)} at batch {case.batch} failed at {failure.stage}"
    return f"{what}: {failure.error}: {message}"


def disturbance_lines(record: Measurement) -> Iterator[str]:
    """Yield a line for each network that disturbed the round, and for each other disturbance."""
    for each in record.disturbed_by:
        yield (
            f"{each.name} used {100 * each.share:.2g} % of the CPUs while {selector(record.case)} "
            f"was timed: {each.name} is measured alone, and a disturbed round is repeated once"
        )
    if record.spoilt_by:
        why = ", and ".join(record.spoilt_by)
        yield f"while {selector(record.case)} was timed, {why}: such a round is repeated once"


def start_line(todo: Sequence[Case], done: Sequence[Case], tracker: Tracker) -> str:
    """Return a line: how many cases are on record, how many to measure, and for how long."""
    on_record = f"{len(done)} on record, " if done else ""
    left = f", about {duration(tracker.left_s())}" if todo else ""
    return f"{on_record}{len(todo)} to measure{left}"


def profile_line(known: ProfileHistory) -> str:
    """Return a line for a profiled case: its latency, and the residual in % of the latency.

    The residual is the part of the latency that no operator accounts for. If profiling failed,
    the line says why.
    """
    if known.failure:
        return failure_line(known.failure)
    record = known.profile
    waterfall = record.waterfall
    residual = 100 * waterfall.residual_s / waterfall.plain_s
    spent = duration(sum(record.plain_samples_s) + sum(record.profiled_samples_s))
    name = selector(record.case)
    return f"{name}: {1e3 * waterfall.plain_s:.1f} ms, residual {residual:+.1f} %, in {spent}"
