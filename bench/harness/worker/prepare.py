"""From a case to a call whose first output is known to be right: build, fuse, load, check."""

from __future__ import annotations

import copy

import torch
from msgspec import structs
from torch import Tensor, nn

from bench import models
from bench.backends import BACKENDS
from bench.devices import Session, precision
from bench.harness.protocol.messages import Job, Known
from bench.harness.worker.timing import Prepared, StageClock
from bench.models import cost, forms
from bench.models.operators import operators
from bench.records import Case, Check, Cost, Operator, Passport

SEED = 0
CHECKED_IMAGES = 2  # of which the reference is computed on the CPU
FORM_TOLERANCE = 1e-4  # in fp32 on a CPU, where all forms in the zoo agree to 4e-5


class CheckError(Exception):
    """The network does not compute what its name says."""


def prepare(job: Job, session: Session, clock: StageClock) -> Prepared:
    """Build, fuse and load the network of `job`; the first round finds out what is known of it.

    A form is checked against the first one in fp32 on the CPU; where backend, precision or device
    are others, so is the output of the first call, on just what will be timed. Raises CheckError,
    or whatever the network or the backend raises.
    """
    case = job.case
    with clock.stage("build"):
        original = models.build(
            case.model, resolution=case.resolution, seed=SEED, source=job.source
        )
    with clock.stage("fuse"):
        is_built = forms.find(case.form).is_built
        net = original if is_built else models.fuse(original, case.form)
    seen = _images(case)
    images = seen[: case.batch]
    reference: Tensor | None = None
    tolerance = 0.0
    with clock.stage("check"):
        if job.known is None:
            reference = _answers(original, seen, case) if _differences(case) else None
            known = _find_out(case, original, net, seen, reference)
            tolerance = _tolerance(case, net, seen, reference)
        elif (structure := cost.structural_hash(net)) == job.known.structure:
            known = job.known
        else:
            raise CheckError(f"structure {structure} is not that of round 1, {job.known.structure}")
    del original
    with clock.stage("load"):
        dtype = precision.dtype(case.precision)
        net, images = net.to(session.torch_device, dtype), images.to(session.torch_device, dtype)
        backend = BACKENDS[case.backend]
        run = backend.load(net, images, case.precision)

    def listed() -> list[Operator]:
        return operators(net, images) if backend.one_by_one else []

    return Prepared(run, lambda output: _inspect(output, case, known, reference, tolerance), listed)


def _find_out(
    case: Case, original: nn.Module, net: nn.Module, images: Tensor, reference: Tensor | None
) -> Known:
    """Compare the form with the first one, and count what it costs."""
    known = _count(case, original, net)
    if net is original or reference is None:
        return known
    output = _answers(net, images, case)
    check = _compare(output, reference, forms.REFERENCE, FORM_TOLERANCE)
    passport = known.passport and structs.replace(
        known.passport,
        largest_absolute_error=check.largest_absolute_error,
        largest_relative_error=check.largest_relative_error,
    )
    return structs.replace(known, check=check, passport=passport)


def _count(case: Case, original: nn.Module, net: nn.Module) -> Known:
    """What the network costs in fp32, and what became of it if it has forms; not checked yet."""
    after = cost.survey(net, case.resolution)
    counted = Cost(
        params=cost.count_params(net),
        macs=after.macs,
        weight_bytes=cost.weight_bytes(net),
        activation_bytes=after.activation_bytes,
    )
    structure = cost.structural_hash(net)
    if case.form == forms.ONLY:
        return Known(Check(), counted, structure)
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
    return Known(Check(), counted, structure, passport)


def _differences(case: Case) -> list[str]:
    """What the reference, the first form in eager fp32 on the CPU, has other than the case."""
    first = case.form if forms.find(case.form).is_built else forms.REFERENCE
    return [first] * (case.form != first) + _differences_of_setting(case)


def _differences_of_setting(case: Case) -> list[str]:
    usual = Case(case.model, case.form)
    pairs = [
        (case.backend, usual.backend),
        (case.precision, usual.precision),
        (case.device, usual.device),
    ]
    return [theirs for ours, theirs in pairs if ours != theirs]


def _tolerance(case: Case, net: nn.Module, seen: Tensor, reference: Tensor | None) -> float:
    """What the first output may differ by: in reduced precision by what that costs this network."""
    if reference is None or precision.PRECISIONS[case.precision].of_bfloat16 is None:
        return precision.tolerance(case.precision, None)
    try:
        reduced = copy.deepcopy(net).to(torch.bfloat16)
        output = _answers(reduced, seen.to(torch.bfloat16), case).float()
    except RuntimeError:  # a network that mixes types computes in fp32 only
        return precision.tolerance(case.precision, None)
    return precision.tolerance(case.precision, _error(output, reference)[1])


def _answers(net: nn.Module, seen: Tensor, case: Case) -> Tensor:
    """What `net` says of the checked images: at batch 1 of one after the other."""
    if case.batch > 1:
        answer: Tensor = net(seen[:CHECKED_IMAGES])
        return answer
    return torch.cat([net(seen[i : i + 1]) for i in range(CHECKED_IMAGES)])


def _inspect(
    output: object, case: Case, known: Known, reference: Tensor | None, tolerance: float
) -> Known:
    """Look at the first output. Raises CheckError unless it is finite and, if so known, right."""
    if not isinstance(output, Tensor):
        raise CheckError(f"output is {type(output).__name__}, not a tensor")
    if output.shape[:1] != (case.batch,):
        raise CheckError(f"output of shape {tuple(output.shape)} for {case.batch} images")
    if not torch.isfinite(output).all():
        raise CheckError("output is not finite")
    if reference is None or not _differences_of_setting(case):
        return known
    against = ", ".join(_differences(case))
    first = output[:CHECKED_IMAGES].float().cpu()
    check = _compare(first, reference, against, tolerance)
    return structs.replace(known, check=check)


def _compare(output: Tensor, reference: Tensor, against: str, tolerance: float) -> Check:
    absolute, relative = _error(output, reference)
    if not relative <= tolerance:
        raise CheckError(
            f"output differs from that of {against!r} by {relative:.2g} of what it differs by "
            f"between two images; tolerated is {tolerance:.2g}"
        )
    return Check(against, absolute, relative, tolerance)


def _error(output: Tensor, reference: Tensor) -> tuple[float, float]:
    """The largest error, absolute and relative to the most that the reference of two images
    differs by: what does not depend on the image proves nothing."""
    spread = float((reference[0] - reference[1]).abs().max())
    absolute = float((output - reference[: len(output)]).abs().max())
    return absolute, absolute / (spread or float(reference.abs().max()) or 1.0)


def _images(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    count = max(case.batch, CHECKED_IMAGES)
    return torch.randn(count, 3, case.resolution, case.resolution, generator=generator)
