"""Checks the output of a network against a reference, on seeded images, before it is timed.

The reference is the unfused form in eager mode, fp32, on the CPU.
"""

from __future__ import annotations

import copy

import torch
from msgspec import structs
from torch import Tensor, nn

from bench.devices import precision
from bench.harness.protocol.messages import CaseFacts
from bench.harness.worker.calls import CHECKED_IMAGES, answer
from bench.models import forms
from bench.models.dtypes import cast
from bench.records import Case, Check

FORM_TOLERANCE = 1e-4  # fp32 on the CPU; all forms of the zoo agree within 4e-5


class CheckError(Exception):
    """The output of the network is wrong, or its structure differs from round 1."""


def check_form(
    case: Case, facts: CaseFacts, net: nn.Module, images: Tensor, reference: Tensor
) -> CaseFacts:
    """Compare the output of the fused `net` with `reference`, the output of the unfused form.

    Returns `facts` with the result. Raises CheckError where the relative error exceeds
    FORM_TOLERANCE.
    """
    output = outputs(net, images, case)
    check = _compare(output, reference, forms.REFERENCE, FORM_TOLERANCE)
    passport = facts.passport and structs.replace(
        facts.passport,
        largest_absolute_error=check.largest_absolute_error,
        largest_relative_error=check.largest_relative_error,
    )
    return structs.replace(facts, check=check, passport=passport)


def differences(case: Case) -> list[str]:
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


def tolerance(case: Case, net: nn.Module, seen: Tensor, reference: Tensor | None) -> float:
    """Return the tolerated relative error of the first output.

    In reduced precision it depends on the error of this network in bfloat16 on the CPU.
    """
    if reference is None or precision.PRECISIONS[case.precision].of_bfloat16 is None:
        return precision.tolerance(case.precision, None)
    try:
        reduced = cast(copy.deepcopy(net), torch.bfloat16)
        output = outputs(reduced, seen.to(torch.bfloat16), case).float()
    except RuntimeError:  # a network that mixes data types may run in fp32 only
        return precision.tolerance(case.precision, None)
    return precision.tolerance(case.precision, _largest_error(output, reference)[1])


def outputs(net: nn.Module, seen: Tensor, case: Case) -> Tensor:
    """Return the outputs of `net` for the checked images; at batch 1, one image per call."""
    if case.batch > 1:
        return answer(net, seen[:CHECKED_IMAGES])
    return torch.cat([answer(net, seen[i : i + 1]) for i in range(CHECKED_IMAGES)])


def inspect(
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
    against = ", ".join(differences(case))
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
