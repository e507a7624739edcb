"""Measuring cases on record once more: where their models are now, and one round at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.errors import UsageError
from bench.harness import networks
from bench.harness.plan import Plan
from bench.harness.scheduler.listener import Listener
from bench.harness.scheduler.runner import Scheduler
from bench.models.naming import without_hash
from bench.records import Case, Environment, Measurement, Source
from bench.storage.results import Store


def found_again(cases: Iterable[Case]) -> tuple[dict[str, Source], dict[str, str]]:
    """Return the sources of models outside the zoo, and why models cannot be measured again.

    Both map the name of a model. Code of the user runs once, to see whether it is still the same.
    """
    sources: dict[str, Source] = {}
    reasons: dict[str, str] = {}
    for case in {case.model: case for case in cases}.values():
        try:
            named = networks.named([case.name], case.device, None)
            (network,) = networks.identified(named, case.device, case.resolution)
        except UsageError as error:
            reasons[case.model] = error.message
            continue
        if network.model.name != case.model:
            reasons[case.model] = f"{without_hash(case.model)} was changed since its last round"
        elif network.model.source != Source():
            sources[case.model] = network.model.source
    return sources, reasons


def one_by_one(
    plan: Plan,
    store: Store,
    environment: Environment,
    listener: Listener,
    sources: Mapping[str, Source],
) -> Callable[[Sequence[Case]], list[Case]]:
    """Return a function that measures one more round of cases of one group, which take turns.

    By the plan, a case is done after any round: the caller decides what follows. The function
    returns the cases whose round other programs spoilt, and raises UsageError where the template
    process is killed repeatedly.
    """
    scheduler = Scheduler(plan.exactly(1), store, environment, listener, False, sources)
    known: set[Case] = set()

    def measure(cases: Sequence[Case]) -> list[Case]:
        if not known:
            store.append(environment)
        scheduler.start_generations([case for case in cases if case not in known], anew=False)
        known.update(cases)
        scheduler.measure_once(cases)
        newest = [store.records_of(case, environment.environment_id)[-1] for case in cases]
        return [each.case for each in newest if isinstance(each, Measurement) and each.spoilt_by]

    return measure
