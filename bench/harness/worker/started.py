"""The network of a process that starts: it is built or read, and called once, without a check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bench import models
from bench.backends import BACKENDS
from bench.backends.backend import Call
from bench.devices import Session, precision
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker import check
from bench.harness.worker.check import CheckError
from bench.harness.worker.cold import BUILD, LOAD, Part
from bench.harness.worker.inputs import SEED, first, inputs_of, seeded
from bench.harness.worker.timing import StageClock
from bench.models import cost, forms
from bench.models.dtypes import cast, cast_tensor
from bench.models.fuse import fuse
from bench.records import Case


class Started(NamedTuple):
    """A network that was never called in this process."""

    case: Case
    call: Call
    facts: CaseFacts

    def inspect(self, output: object) -> CaseFacts:
        """Return the facts. Raises CheckError where the first answer is no answer."""
        return check.inspect(output, self.case, self.facts, None, 0.0)


def load(job: Job, facts: CaseFacts, session: Session, clock: StageClock, part: Part) -> Started:
    """Return the network; `part` counts what a user's program does, too.

    Raises CheckError where the network has not the structure of `facts`.
    """
    case, backend = job.case, BACKENDS[job.case.backend]
    if facts.artifact is not None:
        example = _example(job, session)
        with clock.stage("load"), part(LOAD):
            return Started(case, backend.open(facts.artifact, example, case.precision), facts)
    inputs = inputs_of(case, job.source)
    with clock.stage("build"), part(BUILD):
        net = models.build(
            case.model, resolution=case.resolution, seed=SEED, source=job.source, inputs=inputs
        )
    example = _example(job, session)
    with clock.stage("fuse"):
        if not forms.find(case.form).is_built:
            net = fuse(net, case.form, seeded(inputs, case, 1))
    with clock.stage("check"):
        if (structure := cost.structural_hash(net)) != facts.structure:
            raise CheckError(f"structure {structure} is not the one that was checked")
    with clock.stage("load"), part(LOAD):
        net = cast(net, _dtype(case), session.torch_device)
        call = backend.load(net, example, case.precision)
        session.now()
    return Started(case, call, facts)


def _example(job: Job, session: Session) -> Sequence[Tensor]:
    """Return the images of a call, on the device."""
    seen = first(seeded(inputs_of(job.case, job.source), job.case, 1), job.case.batch)
    images = [cast_tensor(each, _dtype(job.case), session.torch_device) for each in seen]
    return (
        [each.contiguous() for each in images] if BACKENDS[job.case.backend].exporters else images
    )


def _dtype(case: Case) -> torch.dtype:
    return precision.dtype(BACKENDS[case.backend].given(case.precision))
