"""From a case to a call that is known to be right: build, fuse, load, check."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench import models
from bench.backends import BACKENDS
from bench.devices import Device
from bench.measure import StageClock, Subject
from bench.messages import Job, Known
from bench.models import cost
from bench.records import Case, Check, Cost, Passport

SEED = 0
CHECK_BATCH = 2
FIRST_FORMS = ("plain", "train")  # what is built, not fused
# Relative to the largest output; the forms of RepNeXt agree to 4e-7 in fp32.
TOLERANCE = {"fp32": 1e-5}


class CheckError(Exception):
    """The network does not compute what its name says."""


def prepare(job: Job, device: Device, clock: StageClock) -> Subject:
    """Build, fuse, load and check the network of `job`; the first round finds out what is known.

    Raises CheckError, or whatever the network or the backend raises.
    """
    case = job.case
    with clock.stage("build"):
        original = models.build(
            case.model, resolution=case.resolution, seed=SEED, source=job.source
        )
    with clock.stage("fuse"):
        is_first = case.form in FIRST_FORMS
        net = original if is_first else models.fuse(original, case.form)
    with clock.stage("load"):
        net = net.to(device.torch_device)
        images = _images(case, case.batch).to(device.torch_device)
        run = BACKENDS[case.backend](net, images, case.precision)
    with clock.stage("check"):
        known = job.known or _find_out(case, original, net, run, device)
        structure = cost.structural_hash(net)
        if structure != known.structure:
            raise CheckError(f"structure {structure} is not that of round 1, {known.structure}")
    return Subject(lambda: run(images), known, lambda out: _inspect(out, case))


def _find_out(
    case: Case,
    original: nn.Module,
    net: nn.Module,
    run: Callable[[Tensor], Tensor],
    device: Device,
) -> Known:
    """Compare with the first form on the CPU, and count what the network costs."""
    images = _images(case, min(case.batch, CHECK_BATCH))
    output = run(images.to(device.torch_device)).cpu()
    _inspect(output, case, len(images))
    check = Check()
    if net is not original:
        check = _compare(output, original(images), "train", TOLERANCE[case.precision])
    after = cost.survey(net, case.resolution)
    counted = Cost(
        params=cost.count_params(net),
        macs=after.macs,
        weight_bytes=cost.weight_bytes(net),
        activation_bytes=after.activation_bytes,
    )
    structure = cost.structural_hash(net)
    if case.form == "plain":
        return Known(check, counted, structure)
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
        largest_absolute_error=check.largest_absolute_error,
        largest_relative_error=check.largest_relative_error,
    )
    return Known(check, counted, structure, passport)


def _compare(output: Tensor, reference: Tensor, against: str, tolerance: float) -> Check:
    largest = float(reference.abs().max())
    absolute = float((output - reference).abs().max())
    relative = absolute / largest if largest else float("inf")
    if not relative <= tolerance:
        raise CheckError(
            f"output differs from that of {against!r} by {relative:.2g} of its largest value; "
            f"tolerated is {tolerance:g}"
        )
    return Check(against, absolute, relative, tolerance)


def _inspect(output: object, case: Case, batch: int | None = None) -> None:
    """Raise CheckError unless `output` is a finite tensor of one row per image."""
    images = batch or case.batch
    if not isinstance(output, Tensor):
        raise CheckError(f"output is {type(output).__name__}, not a tensor")
    if output.shape[:1] != (images,):
        raise CheckError(f"output of shape {tuple(output.shape)} for {images} images")
    if not torch.isfinite(output).all():
        raise CheckError("output is not finite")


def _images(case: Case, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(count, 3, case.resolution, case.resolution, generator=generator)
