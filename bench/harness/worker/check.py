"""Checks the output of a network against a reference, on seeded images, before it is timed.

The reference is the unfused form in eager mode, fp32, on the CPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from msgspec import structs
from torch import Tensor, nn

from bench import models
from bench.devices import precision
from bench.harness.protocol.messages import CaseFacts
from bench.harness.worker.calls import CHECKED_IMAGES, answer
from bench.harness.worker.inputs import first
from bench.harness.worker.outputs import has_rows, joined, rows_of, tensors_of
from bench.models import forms
from bench.models.dtypes import cast, cast_tensor
from bench.records import Case, Check
from bench.text import brief

# Rounding in float32 changes the output of most networks by less. Above it, the check of a form
# continues in float64.
FORM_TOLERANCE = 2e-5
# Less than half of the effect of the smallest fault in any network of `nox -s zoo`.
FORM_CEILING = 5e-4
FORM_SAFETY = 4.0  # the tolerated error of a form / the error of float32 in the unfused form
# Largest difference between a weight merged in float32 and in float64, of the largest in its tensor
WEIGHT_ROUNDING = 1e-5


class CheckError(Exception):
    """The output of the network is wrong, or its structure differs from round 1."""


class _Forms(NamedTuple):
    """A network as it was built, the form that will be timed, and the checked images."""

    original: nn.Module
    net: nn.Module
    seen: Sequence[Tensor]


def check_form(
    case: Case,
    facts: CaseFacts,
    original: nn.Module,
    net: nn.Module,
    seen: Sequence[Tensor],
    reference: Sequence[Tensor],
) -> CaseFacts:
    """Compare the output of the fused `net` with `reference`, the output of `original`.

    If they agree within FORM_TOLERANCE in float32, they are equal up to rounding. Otherwise copies
    of both networks are compared in float64. The tolerance is then

        clip(FORM_SAFETY * e, FORM_TOLERANCE, FORM_CEILING)

    where e is what float32 costs `original`: the error of its output in float32 against float64.
    FORM_CEILING is less than half of the effect of the smallest fault. If FORM_SAFETY * e exceeds
    it, the weights of `net`, rounded to float32, cannot be told from wrong weights by the output.
    The merge is then repeated in float64: its output must agree within FORM_CEILING, and `net` must
    have its weights, up to rounding.

    Returns `facts` with the result, and a note if the network does not run in float64. Raises
    CheckError where an error exceeds its tolerance.
    """
    absolute, relative = _largest_error(outputs(net, seen, case), reference)
    if relative <= FORM_TOLERANCE:
        check = Check(forms.REFERENCE, absolute, relative, FORM_TOLERANCE)
    else:
        both = _Forms(original, net, seen)
        try:
            check = _check_in_float64(case, both, reference)
        except _Float32OnlyError as error:
            facts = structs.replace(facts, notes=[*facts.notes, FLOAT32_ONLY.format(error)])
            check = compare(outputs(net, seen, case), reference, forms.REFERENCE, FORM_CEILING)
    passport = facts.passport and structs.replace(
        facts.passport,
        largest_absolute_error=check.largest_absolute_error,
        largest_relative_error=check.largest_relative_error,
    )
    return structs.replace(facts, check=check, passport=passport)


def rounding(net: nn.Module, seen: Sequence[Tensor], output: Sequence[Tensor], case: Case) -> float:
    """Return what float32 costs: the relative error of `output` of `net` against float64.

    0 where the network does not run in float64; infinity where an output is not finite.
    """
    try:
        return _cost_of_float32(output, _in_float64(net, seen, case))
    except _Float32OnlyError:
        return 0.0


def _cost_of_float32(output: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    error = _largest_error(output, exact)[1]
    return error if math.isfinite(error) else math.inf


class _Float32OnlyError(Exception):
    """The network does not run in float64."""


FLOAT32_ONLY = "the form was checked in float32, because the network does not run in float64: {}"


def _check_in_float64(case: Case, both: _Forms, reference: Sequence[Tensor]) -> Check:
    exact = _in_float64(both.original, both.seen, case)
    allowed = FORM_SAFETY * _cost_of_float32(reference, exact)
    if allowed <= FORM_CEILING:
        output = _in_float64(both.net, both.seen, case)
        return compare(output, exact, forms.REFERENCE, max(allowed, FORM_TOLERANCE))
    wide = cast(copy.deepcopy(both.original), torch.float64)
    merged = models.fuse(wide, case.form, _wide(first(both.seen, 1)))
    _check_weights(both.net, merged)
    return compare(_in_float64(merged, both.seen, case), exact, forms.REFERENCE, FORM_CEILING)


def _wide(inputs: Sequence[Tensor]) -> list[Tensor]:
    return [cast_tensor(each, torch.float64) for each in inputs]


def _in_float64(net: nn.Module, seen: Sequence[Tensor], case: Case) -> list[Tensor]:
    """Return the outputs of a copy of `net` in float64.

    Raises _Float32OnlyError if the network has a data type in its code.
    """
    try:
        output = outputs(cast(copy.deepcopy(net), torch.float64), _wide(seen), case)
    except Exception as error:  # the code of a network may raise anything
        raise _Float32OnlyError(brief(error)) from error
    for each in output:
        if not _is_integer(each) and each.dtype not in (torch.float64, torch.complex128):
            raise _Float32OnlyError(f"its output is {str(each.dtype).removeprefix('torch.')}")
    return output


def _check_weights(net: nn.Module, merged: nn.Module) -> None:
    """Raise CheckError unless `net` has the weights of `merged`, up to rounding in float32."""
    ours, exact = net.state_dict(), merged.state_dict()
    if ours.keys() != exact.keys():
        raise CheckError("a merge in float64 gives other layers than the merge in float32")
    for name, weight in exact.items():
        if not _equal_up_to_rounding(ours[name], weight):
            raise CheckError(f"{name} differs from the same merge in float64")


def _equal_up_to_rounding(weight: Tensor, exact: Tensor) -> bool:
    if weight.shape != exact.shape or not weight.numel():
        return weight.shape == exact.shape
    if not (exact.is_floating_point() or exact.is_complex()):
        return torch.equal(weight, exact)
    error = (weight - exact).abs().max()
    return bool(error <= WEIGHT_ROUNDING * exact.abs().max())


def differences(case: Case) -> list[str]:
    """List the settings of the reference that differ from the case, as the check names them.

    The reference is the unfused form with eager, fp32, on the CPU.
    """
    first = case.form if forms.find(case.form).is_built else forms.REFERENCE
    return [first] * (case.form != first) + differences_of_setting(case)


def differences_of_setting(case: Case) -> list[str]:
    """List backend, precision and device of the reference where the case has other ones."""
    usual = Case(case.model, case.form)
    pairs = [
        (case.backend, usual.backend),
        (case.precision, usual.precision),
        (case.device, usual.device),
    ]
    return [reference for own, reference in pairs if own != reference]


def tolerance(
    case: Case, net: nn.Module, seen: Sequence[Tensor], reference: Sequence[Tensor] | None
) -> float:
    """Return the tolerated relative error of the first output.

    In reduced precision it depends on the error of this network in bfloat16 on the CPU.
    """
    if reference is None or precision.PRECISIONS[case.precision].of_bfloat16 is None:
        return precision.tolerance(case.precision, None)
    try:
        reduced = cast(copy.deepcopy(net), torch.bfloat16)
        output = outputs(reduced, [cast_tensor(each, torch.bfloat16) for each in seen], case)
        error = _largest_error(output, reference)[1]
    except Exception:  # a network that mixes data types may run in fp32 only
        return precision.tolerance(case.precision, None)
    return precision.tolerance(case.precision, error)


def outputs(net: nn.Module, seen: Sequence[Tensor], case: Case) -> list[Tensor]:
    """Return the outputs of `net` for the checked images; at batch 1, one image per call."""
    if case.batch > 1:
        return answer(net, first(seen, CHECKED_IMAGES))
    one_by_one = ([each[i : i + 1] for each in seen] for i in range(CHECKED_IMAGES))
    answers = [answer(net, image) for image in one_by_one]
    if len({len(each) for each in answers}) > 1:
        raise CheckError("the network returns another number of tensors for another image")
    return joined(answers)


def inspect(
    output: object,
    case: Case,
    facts: CaseFacts,
    reference: Sequence[Tensor] | None,
    tolerance: float,
) -> CaseFacts:
    """Check the first output; return the facts of the case with the result of the check.

    Raises CheckError unless the output has tensors, all of them finite and one of them with one
    row per image, and is within `tolerance` of the reference where there is one.
    """
    tensors = tensors_of(output)
    if not tensors:
        raise CheckError(f"there is no tensor in the output, of type {type(output).__name__}")
    if not any(has_rows(each, case.batch) for each in tensors):
        shapes = ", ".join(str(tuple(each.shape)) for each in tensors)
        raise CheckError(f"output of shape {shapes} for {case.batch} images")
    if not all(torch.isfinite(each).all() for each in tensors):
        raise CheckError("output is not finite")
    if reference is None or not differences_of_setting(case):
        return facts
    against = ", ".join(differences(case))
    checked = rows_of(output, case.batch, CHECKED_IMAGES)
    check = compare(checked, reference, against, tolerance)
    return structs.replace(facts, check=check)


def relative_error(output: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Return the largest relative error of the outputs. Raises CheckError for other shapes."""
    return _largest_error(output, reference)[1]


def compare(
    output: Sequence[Tensor], reference: Sequence[Tensor], against: str, tolerance: float
) -> Check:
    """Return the largest errors of the outputs. Raises CheckError if one exceeds `tolerance`."""
    absolute, relative = _largest_error(output, reference)
    if not relative <= tolerance:
        raise CheckError(
            f"output differs from that of {against!r} by {relative:.2g} of what it differs by "
            f"between two images; tolerated is {tolerance:.2g}"
        )
    return Check(against, absolute, relative, tolerance)


def _largest_error(output: Sequence[Tensor], reference: Sequence[Tensor]) -> tuple[float, float]:
    """Return the largest absolute error e and the largest relative one of all outputs.

    The relative error of an output is e / max |r[0] - r[1]|. r[0] and r[1] are its reference for
    two images. Dividing by their difference ignores the part that does not depend on the image. If
    they are equal, divide by max |r|. Integers, such as the class with the largest value, count
    only where there is no other output: a rounding error may change them by any amount.

    Raises CheckError where an output has another shape than its reference.
    """
    pairs = [
        (ours, theirs[: len(ours)] if ours.dim() else theirs, theirs)
        for ours, theirs in zip(output, reference, strict=False)
    ]
    shapes, expected = ([tuple(each[i].shape) for each in pairs] for i in (0, 1))
    if len(output) != len(reference) or shapes != expected:
        raise CheckError(f"the outputs have shapes {shapes}, and those of the reference {expected}")
    compared = [each for each in pairs if not _is_integer(each[0])] or pairs
    errors = [_error(*map(_comparable, each)) for each in compared if each[0].numel()]
    return max(
        errors or [(0.0, 0.0)], key=lambda each: math.inf if math.isnan(each[1]) else each[1]
    )


def _error(output: Tensor, expected: Tensor, reference: Tensor) -> tuple[float, float]:
    has_two = reference.dim() > 0 and len(reference) > 1
    spread = float((reference[0] - reference[1]).abs().max()) if has_two else 0.0
    absolute = float((output - expected).abs().max())
    return absolute, absolute / (spread or float(reference.abs().max()) or 1.0)


def _is_integer(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _comparable(tensor: Tensor) -> Tensor:
    """Return the values on the CPU in float32; a complex tensor as pairs of real numbers."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.cpu() if real.dtype == torch.float64 else real.float().cpu()
