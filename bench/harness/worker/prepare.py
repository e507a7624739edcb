"""Turns a case into a callable network whose output is checked: build, fuse, check, load."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from msgspec import structs
from torch import Tensor, nn

from bench import models
from bench.backends import BACKENDS
from bench.devices import Session, precision
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker import check
from bench.harness.worker.check import CHECKED_IMAGES, CheckError
from bench.harness.worker.timing import Prepared, StageClock
from bench.models import cost, forms, user
from bench.models.operators import operators
from bench.records import Case, Check, Cost, Operator, Passport

SEED = 0


def prepare(job: Job, session: Session, clock: StageClock) -> Prepared:
    """Build, fuse and load the network of `job`; return it with the check of its first output.

    The first round compares a fused form with the unfused network, in fp32 on the CPU. If backend,
    precision or device differ from eager, fp32, CPU, it also compares the output of the first call
    with that reference, on the network that will be timed. Later rounds only compare the structure.
    Raises CheckError for a wrong output or structure, and any error of the network or backend.
    """
    case = job.case
    with clock.stage("build"):
        size = case.resolution
        original = models.build(case.model, resolution=size, seed=SEED, source=job.source)
    with clock.stage("fuse"):
        is_built = forms.find(case.form).is_built
        net = original if is_built else models.fuse(original, case.form)
    seen = _images(case)
    images = seen[: case.batch]
    reference: Tensor | None = None
    tolerance = 0.0
    with clock.stage("check"):
        if job.facts is None:
            reference = check.outputs(original, seen, case) if check.differences(case) else None
            facts = _count_cost(case, original, net, [seen[:1]])
            if net is not original and reference is not None:
                facts = check.check_form(case, facts, net, seen, reference)
            tolerance = check.tolerance(case, net, seen, reference)
            facts = structs.replace(facts, files=user.imported_files(job.source))
        else:
            facts = _check_structure(net, job.facts)
    del original
    with clock.stage("load"):
        dtype = precision.dtype(case.precision)
        net, images = net.to(session.torch_device, dtype), images.to(session.torch_device, dtype)
        backend = BACKENDS[case.backend]
        run = backend.load(net, images, case.precision)

    def list_operators() -> list[Operator]:
        return operators(net, [images]) if backend.one_by_one else []

    def inspect(output: object) -> CaseFacts:
        return check.inspect(output, case, facts, reference, tolerance)

    return Prepared(run, inspect, list_operators)


def _check_structure(net: nn.Module, facts: CaseFacts) -> CaseFacts:
    """Return the facts of round 1. Raises CheckError if the network has another structure."""
    structure = cost.structural_hash(net)
    if structure != facts.structure:
        raise CheckError(f"structure {structure} is not that of round 1, {facts.structure}")
    return facts


def _count_cost(
    case: Case, original: nn.Module, net: nn.Module, example: Sequence[Tensor]
) -> CaseFacts:
    """Count the fp32 cost and the structure, and the passport if the model has forms."""
    after = cost.survey(net, example)
    counted = Cost(
        params=cost.count_params(net),
        macs=after.macs,
        weight_bytes=cost.weight_bytes(net),
        activation_bytes=after.activation_bytes,
        uncounted=after.uncounted,
    )
    structure = cost.structural_hash(net)
    if case.form == forms.ONLY:
        return CaseFacts(Check(), counted, structure)
    before = after if net is original else cost.survey(original, example)
    passport = Passport(
        convolutions=after.convolutions,
        normalisations=after.normalisations,
        additions=after.additions,
        concatenations=after.concatenations,
        params_before=cost.count_params(original),
        params_after=cost.count_params(net),
        macs_before=before.macs,
        macs_after=after.macs,
        zero_share=cost.zero_share(net),
        structure=structure,
    )
    return CaseFacts(Check(), counted, structure, passport)


def _images(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    count = max(case.batch, CHECKED_IMAGES)
    return torch.randn(count, 3, case.resolution, case.resolution, generator=generator)
