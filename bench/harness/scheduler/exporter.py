"""Exports the network of a case before its first round, in a process of its own.

The process that times the network then reads only the file, like those of all other rounds: what
the exporter imports and leaves in memory is no part of a measurement.
"""

from __future__ import annotations

from msgspec import structs

from bench.backends import BACKENDS, artifacts
from bench.devices import DEVICES
from bench.harness.protocol.messages import CaseFacts, Export, Exported, Job
from bench.harness.scheduler.template import Template
from bench.records.scenario import COLD

DEADLINE_S = 3600.0  # without a message; torch exports some large networks slowly


def checked(job: Job, template: Template) -> Job:
    """Return the job with the facts of its exported network, exported now if its file is missing.

    A process whose start is timed checks nothing, so its network is checked here, too. Any other
    job whose backend exports nothing stays as it is. Raises CaseError and TemplateDiedError.
    """
    if not DEVICES[job.case.device].runs_torch:
        return job
    if not BACKENDS[job.case.backend].exporters:
        if job.facts or job.case.when.kind != COLD:
            return job
        return structs.replace(job, facts=export(job, Export(), template))
    if job.facts and job.facts.artifact and artifacts.is_here(job.facts.artifact):
        return job
    return structs.replace(job, facts=export(structs.replace(job, facts=None), Export(), template))


def export(job: Job, wanted: Export, template: Template) -> CaseFacts:
    """Export the network of a job and check it. Raises CaseError and TemplateDiedError."""
    child = template.fork(structs.replace(job, export=wanted))
    answer = child.answer(DEADLINE_S)
    if not isinstance(answer, Exported):
        raise child.protocol_error(f"expected Exported, got {type(answer).__name__}")
    child.end()
    return answer.facts
