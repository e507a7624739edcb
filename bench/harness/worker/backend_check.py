"""Checks the backend of a case in float32, where a small fault shows, before weights are cast."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from msgspec import structs
from torch import Tensor, nn

from bench.devices import Session, precision
from bench.harness.worker import check
from bench.harness.worker.calls import CHECKED_IMAGES
from bench.harness.worker.check import CheckError
from bench.harness.worker.errors import kind_of
from bench.harness.worker.inputs import first
from bench.harness.worker.load import load
from bench.harness.worker.loaded import Checked
from bench.harness.worker.outputs import rows_of
from bench.models.dtypes import cast, cast_tensor
from bench.records import OUT_OF_MEMORY, Case
from bench.text import brief

USUAL = Case("", "").precision
UNCHECKED = (
    "the backend could not be checked in float32, where a missing layer shows: {}. Use another "
    "--backend, or --precision fp32, where its first output is compared."
)
IN_FLOAT32 = "in float32, before the weights are cast for {}, {}"


def check_in_float32(
    case: Case,
    net: nn.Module,
    seen: Sequence[Tensor],
    known: Checked,
    session: Session,
) -> None:
    """Compare what the backend returns in float32, on the device, with the reference of `known`.

    In a reduced precision, rounding changes the output of most networks by more than a missing
    layer does, so the check of the first output tolerates such a fault. In float32 it does not. A
    copy of `net` gets at most CHECKED_IMAGES images. The switches of the precision, such as TF32,
    are off meanwhile.

    Raises CheckError for a wrong output, and if the copy cannot be made, loaded or called: the
    check of the first output alone would tolerate a missing layer. Raises MemoryError if the copy
    does not fit, since it may fit once other cases have ended.
    """
    usual = structs.replace(case, precision=USUAL, batch=min(case.batch, CHECKED_IMAGES))
    modes = precision.modes()
    precision.set_switches(USUAL)
    try:
        output = _output(usual, net, seen, known, session)
    except Exception as error:  # a network or a backend may raise anything
        kind = MemoryError if kind_of(error) == OUT_OF_MEMORY else CheckError
        raise kind(UNCHECKED.format(brief(error))) from error
    finally:
        precision.set_modes(modes)
        session.free_memory()
    try:
        against = ", ".join(check.differences(case))
        check.compare(output, known.reference or [], against, precision.tolerance(USUAL, None))
    except CheckError as error:
        raise CheckError(IN_FLOAT32.format(case.precision, error)) from None


def _output(
    case: Case, net: nn.Module, seen: Sequence[Tensor], known: Checked, session: Session
) -> list[Tensor]:
    dtype, device = precision.dtype(case.precision), session.torch_device
    copied = cast(copy.deepcopy(net), dtype, device)
    images = [cast_tensor(each.clone(), dtype, device) for each in first(seen, case.batch)]
    tolerance, natural = precision.tolerance(case.precision, None), known.natural
    if natural is not None:
        natural = natural._replace(tolerance=max(tolerance, natural.rounding))
    run, _ = load(case, Checked(known.facts, known.reference, tolerance, natural), copied, images)
    return [each.cpu() for each in rows_of(run(), case.batch, CHECKED_IMAGES)]
