"""`bench run --batch 1..128`: the batch sizes that a curve of the throughput needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.cli.console import say
from bench.cli.sweep import Sweep
from bench.errors import UsageError, check_positive
from bench.harness.scheduler import runner
from bench.records import Case

if TYPE_CHECKING:
    from bench.analysis.batch_curve import Curve

RANGE = re.compile(r"\s*([0-9]{1,9})\s*\.\.\s*([0-9]{1,9})\s*")


class Span(NamedTuple):
    """The smallest and the largest batch size of a curve."""

    lowest: int
    highest: int


def span_of(text: str | None) -> Span | None:
    """The span that `1..128` gives; None for any other text. Raises UsageError for `128..1`."""
    found = RANGE.fullmatch(text or "")
    if not found:
        return None
    span = Span(int(found[1]), int(found[2]))
    for number in span:
        check_positive("batch", number)
    if span.lowest >= span.highest:
        raise UsageError(f"--batch {text} has no size to grow to", "For example: --batch 1..128")
    return span


def doubled(sweep: Sweep, span: Span) -> Sweep:
    """Return the cases at the sizes from the lowest by doubling, which a dry run lists.

    A run measures fewer where the curves are flat, and some between where it looks closer.
    """
    sizes = [span.lowest]
    while sizes[-1] < span.highest:
        sizes.append(min(2 * sizes[-1], span.highest))
    return sweep.with_cases(
        [msgspec.structs.replace(case, batch=size) for size in sizes for case in sweep.cases]
    )


def measure_curve(sweep: Sweep, span: Span, measure: Callable[[Sweep], None]) -> Sweep:
    """Measure one batch size after another until the curves are known; return all their cases.

    A resumed run takes the same decisions from the records, so it visits the same sizes first. A
    network that failed at a batch size, as for lack of memory, is not measured at larger ones.
    """
    from bench.analysis.batch_curve import next_batch

    visited: dict[int, list[Case]] = {}
    found: list[Curve] = []
    while (batch := next_batch(found, visited, *span)) is not None:
        failed = {
            _plain(curve.case)
            for curve in found
            if curve.failed_at is not None and curve.failed_at < batch
        }
        sized = [msgspec.structs.replace(case, batch=batch) for case in sweep.cases]
        cases = [case for case in sized if _plain(case) not in failed]
        if batch in visited or not cases:
            break
        visited[batch] = cases
        measure(_run_of(sweep.with_cases(cases)))
        found = curves_of(sweep, visited)
    return sweep.with_cases([case for batch in sorted(visited) for case in visited[batch]])


def _run_of(sweep: Sweep) -> Sweep:
    """Return the sweep as a run of its own: cases of two batch sizes took no turns."""
    environment = msgspec.structs.replace(sweep.environment, run_id=runner.new_run_id())
    return sweep._replace(choice=sweep.choice._replace(environment=environment))


def curves_of(sweep: Sweep, visited: Iterable[int]) -> list[Curve]:
    """Return the curves of the sweep's networks at these batch sizes."""
    from bench.analysis import batch_curve, rows

    here, sizes = sweep.environment.environment_id, set(visited)
    wanted = {_plain(case) for case in sweep.cases}
    records = [each for each in sweep.store.records if each.environment_id == here]
    found = batch_curve.curves(
        rows.unranked(records, wanted=lambda case: case.batch in sizes and _plain(case) in wanted)
    )
    return [_labelled(curve, sweep.environment.labels) for curve in found]


def _labelled(curve: Curve, labels: Mapping[str, str]) -> Curve:
    label = labels.get(curve.case.model, "")
    return msgspec.structs.replace(curve, case=msgspec.structs.replace(curve.case, label=label))


def tell_curves(sweep: Sweep) -> None:
    """Print the knee of each curve, and the crossovers."""
    from bench.analysis.batch_curve import crossovers, of_crossover, of_curve

    found = curves_of(sweep, {case.batch for case in sweep.cases})
    for curve in found:
        say(sweep.console, of_curve(curve))
    for crossover in crossovers(found):
        say(sweep.console, of_crossover(crossover))


def _plain(case: Case) -> Case:
    """The case without its batch size and label."""
    return msgspec.structs.replace(case, batch=1, label="")
