"""The parent's loop of `bench eval`: each case classifies the images in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from msgspec import structs

from bench.analysis import evaluations
from bench.devices import DEVICES
from bench.errors import UsageError
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import (
    CaseFacts,
    Classified,
    Evaluate,
    Evaluated,
    Export,
    Job,
    Refused,
)
from bench.harness.scheduler import exporter, record
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.environment import runtime_of
from bench.harness.scheduler.template import Template, TemplateDeaths
from bench.harness.scheduler.templates import Templates
from bench.models.naming import selector
from bench.records import Case, Environment, Evaluation, Failure, Source
from bench.records.evaluation import data_key
from bench.storage.results import Store

DEADLINE_S = 1800.0  # without a message; a large network may be checked slowly


class DataSet(NamedTuple):
    """The images that cases classify, and the name of their data set.

    `calibrate` is the folder of photographs on which int8 finds its ranges, and
    `calibration_hash` their hash; both are "" without photographs. `crop_shares` has that of the
    training of a model, where it is known.
    """

    name: str
    images: Evaluate
    calibrate: str = ""
    calibration_hash: str = ""
    crop_shares: Mapping[str, float] = MappingProxyType({})

    @property
    def key(self) -> str:
        """The key of what is classified, as records have it."""
        return data_key(self.name, self.images.images_hash, self.calibration_hash)

    def of(self, case: Case) -> Evaluate:
        """What the process of a case is asked for."""
        return structs.replace(self.images, crop_share=self.crop_shares.get(case.model))


class Listener(NamedTuple):
    """What the user sees: the number of images of a case that are classified, and each result."""

    classified: Callable[[Case, int], object]
    ended: Callable[[Evaluation | Failure], object]


def evaluate(
    cases: Sequence[Case],
    todo: Sequence[Case],
    data: DataSet,
    store: Store,
    environment: Environment,
    sources: Mapping[str, Source],
    listener: Listener,
) -> list[Evaluation | Failure]:
    """Evaluate the cases `todo`, as `lacking` names them; return what is then known of `cases`.

    Raises UsageError where the images do not fit a network, after all others were evaluated, and
    where template processes are killed one after another.
    """
    found: dict[Case, Evaluation | Failure] = {}
    for case in cases:
        if case not in todo and (known := on_record(store, environment, case, data)):
            found[case] = known
            listener.ended(known)
    if todo:
        store.append(environment)
    deaths, refused = TemplateDeaths(), dict[Case, UsageError]()
    while left := [case for case in todo if case not in found and case not in refused]:
        try:
            with DEVICES[left[0].device].keep_ready(), Templates(left) as templates:
                for case in left:
                    template = templates.of(case)
                    try:
                        made = _evaluated(case, data, environment, sources, listener, template)
                    except UsageError as error:
                        refused[case] = error
                        continue
                    store.append(made)
                    listener.ended(made)
                    found[case] = made
        except TemplateDiedError:
            deaths.count(len(found))
    for case, first in refused.items():
        raise UsageError(f"{selector(case)}: {first.message}", first.remedy)
    return [found[case] for case in cases]


def lacking(
    cases: Sequence[Case],
    data: DataSet,
    store: Store,
    environment: Environment,
    *,
    again: bool,
    retry_failed: bool,
) -> list[Case]:
    """The cases that are not on record, or are to be evaluated anew.

    A case is on record if it was evaluated on the same images in this environment, or failed there.
    """
    return [
        case
        for case in cases
        if again
        or not (known := on_record(store, environment, case, data))
        or (retry_failed and isinstance(known, Failure))
    ]


def on_record(
    store: Store, environment: Environment, case: Case, data: DataSet
) -> Evaluation | Failure | None:
    """The evaluation of a case on these images in this environment, or its failure, if any."""
    own = evaluations.latest(store.records_of(case, environment.environment_id))
    every: list[Evaluation | Failure] = [*own.made, *own.failures]
    known = [each for each in every if each.data == data.key and each.runtime == runtime_of(case)]
    return known[0] if known else None


def _evaluated(
    case: Case,
    data: DataSet,
    environment: Environment,
    sources: Mapping[str, Source],
    listener: Listener,
    template: Template,
) -> Evaluation | Failure:
    """Evaluate one case. Raises UsageError and TemplateDiedError."""
    job = Job(case, 1, PRESETS["quick"], None, sources.get(case.model))
    try:
        facts = _exported(job, data, template)
        job = structs.replace(job, facts=facts, evaluate=data.of(case))
        answer = _answer(job, template, listener)
    except CaseError as error:
        if error.stage != "evaluate":
            error.message = f"at {error.stage}: {error.message}"
        failed = record.failure(environment, case, 1, error, stage="evaluate")
        return structs.replace(failed, data=data.key)
    own = {name: getattr(answer, name) for name in answer.__struct_fields__ if name != "notes"}
    quantised = facts.artifact.quantised if facts and facts.artifact else None
    return Evaluation(
        run_id=environment.run_id,
        case_id=case.case_id,
        case=case,
        environment_id=environment.environment_id,
        dataset=data.name,
        images_hash=data.images.images_hash,
        classes=data.images.classes,
        calibration=quantised.calibration if quantised else "",
        calibration_hash=data.calibration_hash,
        warnings=answer.notes,
        runtime=runtime_of(case),
        **own,
    )


def _exported(job: Job, data: DataSet, template: Template) -> CaseFacts | None:
    """The facts of the exported network of a case; None where torch executes it."""
    if data.calibrate:
        return exporter.export(job, Export(images=data.calibrate), template)
    return exporter.checked(job, template).facts


def _answer(job: Job, template: Template, listener: Listener) -> Evaluated:
    """Fork a child, return its counts. Raises CaseError, TemplateDiedError and UsageError."""
    child = template.fork(job)
    while isinstance(answer := child.answer(DEADLINE_S), Classified):
        try:
            listener.classified(job.case, answer.images)
        except BaseException:
            child.kill()
            raise
    if isinstance(answer, Refused):
        child.end()
        raise UsageError(answer.message, answer.remedy)
    if not isinstance(answer, Evaluated):
        raise child.protocol_error(f"expected Evaluated, got {type(answer).__name__}")
    child.end()
    return answer
