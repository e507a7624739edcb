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
from bench.models import cost, zoo
from bench.records import Case, Check, Cost

SEED = 0
CHECK_BATCH = 2
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
        original = models.build(case.model, resolution=case.resolution, seed=SEED)
    with clock.stage("fuse"):
        is_first = case.form == zoo.find(case.model).forms[0]
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
        against = zoo.find(case.model).forms[0]
        check = _compare(output, original(images), against, TOLERANCE[case.precision])
    counted = Cost(
        params=cost.count_params(net),
        macs=cost.count_macs(net, case.resolution),
        weight_bytes=cost.weight_bytes(net),
    )
    return Known(check, counted, cost.structural_hash(net))


def _compare(output: Tensor, reference: Tensor, against: str, tolerance: float) -> Check:
    largest = float(reference.abs().max())
    error = float((output - reference).abs().max()) / largest if largest else float("inf")
    if not error <= tolerance:
        raise CheckError(
            f"output differs from that of {against!r} by {error:.2g} of its largest value; "
            f"tolerated is {tolerance:g}"
        )
    return Check(against, error, tolerance)


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
