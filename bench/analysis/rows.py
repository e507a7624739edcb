"""One row per case and environment: the input of tables and figures."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.analysis import evaluations, ranks
from bench.analysis.disturbance import counted
from bench.analysis.gpu_metrics import GpuMetrics, gpu_metrics
from bench.analysis.interval import interval
from bench.analysis.kinds import Kind, kinds
from bench.analysis.ranks import Rank
from bench.analysis.ratio import compare
from bench.analysis.recorded import unknown_environment
from bench.analysis.settings import alike
from bench.analysis.stats import Estimate, Summary, Tail, summarise, tail
from bench.analysis.verdict import Machine, Quiet, Verdict, judge_case, quiet_of, usable_cpus
from bench.paper import accuracy
from bench.paper.accuracy import Accuracy, Given
from bench.records import Case, Chip, Cost, Environment, Failure, Measurement, Record, of_cases
from bench.storage.history import history


class Row(msgspec.Struct, frozen=True):
    """A case in one environment: measured (`summary`, `cost`), or failed (`failure`).

    `interval` is the 95 % interval of the latency (`bench.analysis.interval`); None for too few
    processes. `rank` holds the places that the row can have among the rows of its group
    (`bench.analysis.ranks`), and `ties` the case_ids of the rows that it is not told apart from. A
    row that failed, is INVALID, or was measured in one process has neither. `accuracies` holds one
    accuracy per data set, for the model at this resolution; the best source comes first. `counted`
    is how many rounds count towards `--rounds`.
    """

    case: Case
    environment: Environment
    summary: Summary | None
    cost: Cost | None
    failure: Failure | None
    stopped_by: str
    warnings: list[str]
    rounds: list[Measurement]
    interval: Estimate | None
    verdict: Verdict | None
    accuracies: list[Accuracy] = []
    counted: int = 0
    rank: Rank | None = None
    ties: frozenset[str] = frozenset()

    @property
    def chip(self) -> Chip:
        """The chip on which the case was measured."""
        return self.environment.chip

    @property
    def typical_s(self) -> float | None:
        """The latency in seconds: the mean of the processes' medians."""
        return self.summary.latency if self.summary else None

    @property
    def throughput(self) -> float | None:
        """Images per second: batch / latency; None where calls do not follow one another."""
        return self.case.throughput(self.summary.latency) if self.summary else None

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of processes, by their page faults; [] if the case failed."""
        return [] if self.failure else kinds(self.rounds)

    @property
    def spread(self) -> float | None:
        """The standard deviation of the logarithms of the processes' medians; None for one."""
        logs = [math.log(statistics.median(record.samples_s)) for record in self.rounds]
        return statistics.stdev(logs) if len(logs) > 1 and not self.failure else None

    @property
    def tail(self) -> Tail:
        """Percentiles of all iterations; each None where the samples do not support it."""
        rounds = [] if self.failure else self.rounds
        return tail([r.samples_s for r in rounds], grouped=is_grouped(rounds))

    @property
    def gpu(self) -> GpuMetrics:
        """Metrics of a GPU besides latency; all None if the case failed."""
        return gpu_metrics([] if self.failure else self.rounds)

    @property
    def is_invalid(self) -> bool:
        """Whether the verdict is INVALID."""
        return self.verdict is not None and self.verdict.level == "INVALID"

    @property
    def is_ranked(self) -> bool:
        """Whether the row has a rank: it has several processes, and is not INVALID."""
        return self.summary is not None and self.summary.processes > 1 and not self.is_invalid

    @property
    def unfinished(self) -> bool:
        """Whether the run ended before it had measured all rounds of the case."""
        return self.failure is None and self.stopped_by == "round"

    def accuracy(self, dataset: str = accuracy.IMAGENET) -> Accuracy | None:
        """Top-1 accuracy on `dataset` at the resolution of the case; None if not known."""
        return next((each for each in self.accuracies if each.dataset == dataset), None)


def of(records: Sequence[Record], given: Sequence[Given] = ()) -> list[Row]:
    """The rows of all cases, with their ranks; see `unranked`."""
    return ranked(unranked(records, given))


def unranked(
    records: Sequence[Record],
    given: Sequence[Given] = (),
    wanted: Callable[[Case], bool] = lambda case: True,
) -> list[Row]:
    """Rows grouped by environment, in the order in which the cases were first measured.

    `given` holds accuracies from the user, in addition to those of the paper, of timm, and of the
    evaluations among `records`. A case that is not `wanted` has no row.
    """
    given = [*given, *evaluations.accuracies(records)]
    environments = {r.environment_id: r for r in records if isinstance(r, Environment)}
    by_case: dict[tuple[str, str], list[Record]] = {}
    for record in filter(lambda each: wanted(each.case), of_cases(records)):
        by_case.setdefault((record.environment_id, record.case_id), []).append(record)
    quiet, cpus = _quiet_states(records), usable_cpus(records)
    rows = [
        _row(group, environments.get(environment_id), quiet, cpus, given)
        for (environment_id, _), group in by_case.items()
    ]
    order = list(dict.fromkeys(row.environment.environment_id for row in rows))
    return sorted(rows, key=lambda row: order.index(row.environment.environment_id))


def ranked(rows: Sequence[Row]) -> list[Row]:
    """The same rows in the same order; those of equal `Case.ranked_with` are ranked together.

    Two rows are told apart if `bench.analysis.ratio.compare` finds one of them FASTER. INVALID rows
    and rows of a single process have no rank.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row.is_ranked:
            key = (row.environment.environment_id, *row.case.ranked_with)
            groups.setdefault(key, []).append(place)
    found = list(rows)
    for places in groups.values():
        faster = _faster([rows[place] for place in places])
        for one, (place, rank) in enumerate(zip(places, ranks.numbers(faster), strict=True)):
            ties = frozenset(
                rows[other].case.case_id
                for two, other in enumerate(places)
                if one != two and not faster[one][two] and not faster[two][one]
            )
            found[place] = msgspec.structs.replace(rows[place], rank=rank, ties=ties)
    return found


def _faster(rows: Sequence[Row]) -> list[list[bool]]:
    """Whether the i-th row was found faster than the j-th."""
    found = [[False] * len(rows) for _ in rows]
    for i, j in itertools.combinations(range(len(rows)), 2):
        finding = compare(rows[i].rounds, rows[j].rounds).finding
        found[i][j], found[j][i] = finding == "SLOWER", finding == "FASTER"
    return found


def _quiet_states(records: Sequence[Record]) -> dict[tuple[object, ...], Quiet | None]:
    """The quiet state of the calibration kernels, by environment and `Case.of_kernels`."""
    alike: dict[tuple[object, ...], list[Measurement]] = {}
    for record in records:
        if isinstance(record, Measurement):
            key = (record.environment_id, *record.case.of_kernels)
            alike.setdefault(key, []).append(record)
    return {key: quiet_of(rounds) for key, rounds in alike.items()}


def _row(
    group: Sequence[Record],
    environment: Environment | None,
    quiet: Mapping[tuple[object, ...], Quiet | None],
    cpus: Mapping[str, int],
    given: Sequence[Given],
) -> Row:
    """The row of one case; a failure counts unless a later round succeeded."""
    first = group[0]
    assert isinstance(first, (Measurement, Failure))
    rounds, failure = history(group, first.case, first.environment_id)
    kept = alike(rounds)
    warned = [*(r.warnings for r in kept), failure.warnings if failure else []]
    processes = [] if failure else [r.samples_s for r in kept]
    environment = environment or unknown_environment(first)
    state = quiet.get((first.environment_id, *first.case.of_kernels))
    machine = Machine(state, cpus)
    return Row(
        case=first.case,
        environment=environment,
        summary=summarise(processes, grouped=is_grouped(kept)) if processes else None,
        cost=_cost(kept) if kept else None,
        failure=failure,
        stopped_by=rounds[-1].stopped_by if rounds else "",
        warnings=list(dict.fromkeys(itertools.chain(*warned))),
        rounds=kept,
        interval=interval(kept) if processes else None,
        verdict=judge_case(rounds, machine) if processes else None,
        counted=len(counted(rounds)),
        accuracies=accuracy.of(
            first.case.model, first.case.resolution, given, evaluations.how(first.case)
        ),
    )


def is_grouped(rounds: Sequence[Measurement]) -> bool:
    """Whether a sample of any round is the mean of a group of calls."""
    return any(record.calls_per_sample > 1 for record in rounds)


def _cost(rounds: Sequence[Measurement]) -> Cost:
    """The cost of the first round, with the largest memory peaks of all rounds."""
    largest = {
        name: max((b for r in rounds if (b := getattr(r.cost, name)) is not None), default=None)
        for name in ("peak_memory_bytes", "peak_reserved_bytes", "process_bytes")
    }
    return msgspec.structs.replace(rounds[0].cost, **largest)
