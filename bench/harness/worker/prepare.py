"""Turns a case into a callable network whose output is checked: build, fuse, check, load."""

from __future__ import annotations

import copy

import torch
from msgspec import structs
from torch import Tensor, nn

from bench import models
from bench.backends import BACKENDS
from bench.devices import Session, precision
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker.timing import Prepared, StageClock
from bench.models import cost, forms
from bench.models.operators import operators
from bench.records import Case, Check, Cost, Operator, Passport

SEED = 0
CHECKED_IMAGES = 2  # the first images of the batch, whose outputs are compared
FORM_TOLERANCE = 1e-4  # fp32 on the CPU; all forms of the zoo agree within 4e-5


class CheckError(Exception):
    """The output of the network is wrong, or its structure differs from round 1."""


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
            reference = _outputs(original, seen, case) if _differences(case) else None
            facts = _check_form(case, original, net, seen, reference)
            tolerance = _tolerance(case, net, seen, reference)
        else:
            facts = _check_structure(net, job.facts)
    del original
    with clock.stage("load"):
        dtype = precision.dtype(case.precision)
        net, images = net.to(session.torch_device, dtype), images.to(session.torch_device, dtype)
        backend = BACKENDS[case.backend]
        run = backend.load(net, images, case.precision)

    def list_operators() -> list[Operator]:
        return operators(net, images) if backend.one_by_one else []

    def inspect(output: object) -> CaseFacts:
        return _inspect(output, case, facts, reference, tolerance)

    return Prepared(run, inspect, list_operators)


def _check_structure(net: nn.Module, facts: CaseFacts) -> CaseFacts:
    """Return the facts of round 1. Raises CheckError if the network has another structure."""
    structure = cost.structural_hash(net)
    if structure != facts.structure:
        raise CheckError(f"structure {structure} is not that of round 1, {facts.structure}")
    return facts


def _check_form(
    case: Case, original: nn.Module, net: nn.Module, images: Tensor, reference: Tensor | None
) -> CaseFacts:
    """Count the cost of the network and compare its output with the unfused form.

    Raises CheckError where the relative error exceeds FORM_TOLERANCE.
    """
    facts = _count_cost(case, original, net)
    if net is original or reference is None:
        return facts
    output = _outputs(net, images, case)
    check = _compare(output, reference, forms.REFERENCE, FORM_TOLERANCE)
    passport = facts.passport and structs.replace(
        facts.passport,
        largest_absolute_error=check.largest_absolute_error,
        largest_relative_error=check.largest_relative_error,
    )
    return structs.replace(facts, check=check, passport=passport)


def _count_cost(case: Case, original: nn.Module, net: nn.Module) -> CaseFacts:
    """Count the fp32 cost and the structure, and the passport if the model has forms."""
    after = cost.survey(net, case.resolution)
    counted = Cost(
        params=cost.count_params(net),
        macs=after.macs,
        weight_bytes=cost.weight_bytes(net),
        activation_bytes=after.activation_bytes,
    )
    structure = cost.structural_hash(net)
    if case.form == forms.ONLY:
        return CaseFacts(Check(), counted, structure)
    before = after if net is original else cost.survey(original, case.resolution)
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


def _differences(case: Case) -> list[str]:
    """List the settings of the reference that differ from the case, as the check names them.

    The reference is the unfused form with eager, fp32, on the CPU.
    """
    first = case.form if forms.find(case.form).is_built else forms.REFERENCE
    return [first] * (case.form != first) + _differences_of_setting(case)


def _differences_of_setting(case: Case) -> list[str]:
    usual = Case(case.model, case.form)
    pairs = [
        (case.backend, usual.backend),
        (case.precision, usual.precision),
        (case.device, usual.device),
    ]
    return [reference for own, reference in pairs if own != reference]


def _tolerance(case: Case, net: nn.Module, seen: Tensor, reference: Tensor | None) -> float:
    """Return the tolerated relative error of the first output.

    In reduced precision it depends on the error of this network in bfloat16 on the CPU.
    """
    if reference is None or precision.PRECISIONS[case.precision].of_bfloat16 is None:
        return precision.tolerance(case.precision, None)
    try:
        reduced = copy.deepcopy(net).to(torch.bfloat16)
        output = _outputs(reduced, seen.to(torch.bfloat16), case).float()
    except RuntimeError:  # a network that mixes data types may run in fp32 only
        return precision.tolerance(case.precision, None)
    return precision.tolerance(case.precision, _largest_error(output, reference)[1])


def _outputs(net: nn.Module, seen: Tensor, case: Case) -> Tensor:
    """Return the outputs of `net` for the checked images; at batch 1, one image per call."""
    if case.batch > 1:
        answer: Tensor = net(seen[:CHECKED_IMAGES])
        return answer
    return torch.cat([net(seen[i : i + 1]) for i in range(CHECKED_IMAGES)])


def _inspect(
    output: object, case: Case, facts: CaseFacts, reference: Tensor | None, tolerance: float
) -> CaseFacts:
    """Check the first output; return the facts of the case with the result of the check.

    Raises CheckError unless the output is a finite tensor with one row per image, and within
    `tolerance` of the reference where there is one.
    """
    if not isinstance(output, Tensor):
        raise CheckError(f"output is {type(output).__name__}, not a tensor")
    if output.shape[:1] != (case.batch,):
        raise CheckError(f"output of shape {tuple(output.shape)} for {case.batch} images")
    if not torch.isfinite(output).all():
        raise CheckError("output is not finite")
    if reference is None or not _differences_of_setting(case):
        return facts
    against = ", ".join(_differences(case))
    first = output[:CHECKED_IMAGES].float().cpu()
    check = _compare(first, reference, against, tolerance)
    return structs.replace(facts, check=check)


def _compare(output: Tensor, reference: Tensor, against: str, tolerance: float) -> Check:
    absolute, relative = _largest_error(output, reference)
    if not relative <= tolerance:
        raise CheckError(
            f"output differs from that of {against!r} by {relative:.2g} of what it differs by "
            f"between two images; tolerated is {tolerance:.2g}"
        )
    return Check(against, absolute, relative, tolerance)


def _largest_error(output: Tensor, reference: Tensor) -> tuple[float, float]:
    """Return the largest absolute error e and the relative error e / max |r[0] - r[1]|.

    r[0] and r[1] are the reference outputs of two images. Dividing by their difference ignores the
    part of the output that does not depend on the image. If they are equal, divide by max |r|.
    """
    spread = float((reference[0] - reference[1]).abs().max())
    absolute = float((output - reference[: len(output)]).abs().max())
    return absolute, absolute / (spread or float(reference.abs().max()) or 1.0)


def _images(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    count = max(case.batch, CHECKED_IMAGES)
    return torch.randn(count, 3, case.resolution, case.resolution, generator=generator)
