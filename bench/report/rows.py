"""One row per case and environment: what tables and figures are made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from bench.paper import top1
from bench.records import Case, Chip, Cost, Environment, Failure, Measurement, Record
from bench.stats import Summary, summarise
from bench.store import history


class Row(msgspec.Struct, frozen=True):
    """A case in one environment: measured (`summary`, `cost`), or failed (`failure`)."""

    case: Case
    environment: Environment
    summary: Summary | None
    cost: Cost | None
    failure: Failure | None
    stopped_by: str
    warnings: list[str]

    @property
    def chip(self) -> Chip:
        """The chip it was measured on."""
        return self.environment.chip

    @property
    def throughput(self) -> float | None:
        """Images per second: batch / median."""
        return self.case.batch / self.summary.median if self.summary else None

    @property
    def top1(self) -> float | None:
        """Top-1 accuracy in per cent that the paper reports on ImageNet-1K, if it does."""
        return top1(self.case.model)


def of(records: Sequence[Record]) -> list[Row]:
    """Rows in the order in which their cases were first measured, environment by environment."""
    environments = {r.environment_id: r for r in records if isinstance(r, Environment)}
    by_case: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if not isinstance(record, Environment):
            by_case.setdefault((record.environment_id, record.case_id), []).append(record)
    rows = [
        _row(group, environments.get(environment_id))
        for (environment_id, _), group in by_case.items()
    ]
    order = list(dict.fromkeys(row.environment.environment_id for row in rows))
    return sorted(rows, key=lambda row: order.index(row.environment.environment_id))


def _row(group: Sequence[Record], environment: Environment | None) -> Row:
    """One case's row; a failure that no later round mended outweighs what came before it."""
    first = group[0]
    assert isinstance(first, (Measurement, Failure))
    rounds, failure = history(group, first.case, first.environment_id)
    warned = [*(r.warnings for r in rounds), failure.warnings if failure else []]
    return Row(
        case=first.case,
        environment=environment or _unknown_environment(first),
        summary=summarise([r.samples_s for r in rounds]) if rounds and not failure else None,
        cost=_cost(rounds) if rounds else None,
        failure=failure,
        stopped_by=rounds[-1].stopped_by if rounds else "",
        warnings=list(dict.fromkeys(itertools.chain(*warned))),
    )


def _cost(rounds: Sequence[Measurement]) -> Cost:
    """The cost that all rounds agree on, with the largest of their peaks."""
    peaks = [p for r in rounds if (p := r.cost.peak_memory_bytes) is not None]
    return msgspec.structs.replace(rounds[0].cost, peak_memory_bytes=max(peaks, default=None))


def _unknown_environment(record: Measurement | Failure) -> Environment:
    """For records whose environment is not on record, which `bench run` never leaves."""
    device = record.case.device
    chip = Chip(device=device, kind="", name=f"unknown {device}", threads=0, facts={})
    return Environment(record.run_id, record.environment_id, chip, {}, {}, "", "")
