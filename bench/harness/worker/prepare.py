"""Turns a case into a callable network whose output is checked: build, fuse, check, load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from msgspec import structs
from torch import Tensor, nn

from bench import models
from bench.backends import BACKENDS
from bench.devices import Session, precision
from bench.devices.process_state import ProcessState
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker import calls, check
from bench.harness.worker.calls import CHECKED_IMAGES
from bench.harness.worker.check import CheckError
from bench.harness.worker.errors import explained
from bench.harness.worker.timing import Prepared, StageClock
from bench.models import cost, forms, user
from bench.models.dtypes import cast
from bench.models.fuse import Fused, fuse_with_notes
from bench.models.operators import operators
from bench.records import Case, Check, Cost, Operator, Passport

SEED = 0


class _Checked(NamedTuple):
    """The facts of a case before its first call, and what that call's output is compared with."""

    facts: CaseFacts
    reference: Tensor | None = None
    tolerance: float = 0.0


def prepare(job: Job, session: Session, clock: StageClock) -> Prepared:
    """Build, fuse and load the network of `job`; return it with the check of its first output.

    The first round compares a fused form with the unfused network, in fp32 on the CPU. If backend,
    precision or device differ from eager, fp32, CPU, it also compares the output of the first call
    with that reference, on the network that will be timed. Later rounds only compare the structure.
    Settings of the process that the network's code changes are set back after each stage.
    Raises CheckError for a wrong output or structure, and any error of the network or backend.
    """
    case, state = job.case, ProcessState()
    with clock.stage("build"):
        original = models.build(
            case.model,
            resolution=case.resolution,
            seed=SEED,
            source=job.source,
            after_code=state.restore,
        )
    seen = _images(case)
    with clock.stage("fuse"):
        is_built = forms.find(case.form).is_built
        example = (seen[:1],)
        fused = Fused(original, []) if is_built else fuse_with_notes(original, case.form, example)
        net = fused.network
    with clock.stage("check"):
        try:
            checked = _check(job, original, fused, seen)
        except Exception as error:
            raise explained(error, case, original, seen) from error
        state.restore()
    del original
    with clock.stage("load"):
        dtype = precision.dtype(case.precision)
        net = cast(net, dtype, session.torch_device)
        images = seen[: case.batch].to(session.torch_device, dtype)
        run = BACKENDS[case.backend].load(net, images, case.precision)
        state.restore()
    return _Loaded(case, checked, net, images, run, state).prepared()


class _Loaded:
    """A loaded network: what is known of it before the first call, and its first output."""

    def __init__(
        self,
        case: Case,
        checked: _Checked,
        net: nn.Module,
        images: Tensor,
        run: Callable[[], object],
        state: ProcessState,
    ) -> None:
        self._case = case
        self._checked = checked
        self._net = net
        self._images = images
        self._run = run
        self._state = state
        self._given = images[:CHECKED_IMAGES].clone()
        self._first: list[Tensor] = []

    def prepared(self) -> Prepared:
        """Return the functions that the child calls; `call` is that of the backend itself."""
        return Prepared(
            self._run, self.inspect, self.explained, self.compare, self.changed, self.operators
        )

    def explained(self, error: Exception) -> Exception:
        """Return an error of the first call with what the network was given."""
        if not BACKENDS[self._case.backend].one_by_one:
            return error  # the backend does not accept the network
        return explained(error, self._case, self._net, self._images)

    def inspect(self, output: object) -> CaseFacts:
        """Check the first output, and that its call left the images as they were."""
        calls.check_input(self._images[:CHECKED_IMAGES], self._given)
        facts, reference, tolerance = self._checked
        try:
            facts = check.inspect(output, self._case, facts, reference, tolerance)
        except CheckError:
            calls.check_answers(self._net, self._given, self._case.precision)
            raise
        self._first = calls.first_rows(output)
        self._state.restore()
        return structs.replace(facts, notes=_merged(facts.notes, self._state.notes))

    def compare(self, output: object) -> None:
        """Raise NotRepeatableError where a later output differs from the first one."""
        change = calls.difference(self._first, calls.first_rows(output))
        if not change <= precision.repeatability(self._case.precision):
            calls.check_answers(self._net, self._given, self._case.precision)
            raise calls.NotRepeatableError(calls.FROM_STATE.format(change))

    def changed(self) -> dict[str, str]:
        """Return the settings that the network has changed since `inspect`, with their values."""
        return {each.name: each.values for each in self._state.restore() if each.counts}

    def operators(self) -> list[Operator]:
        """List the operators of one call, where the backend runs them one by one."""
        one_by_one = BACKENDS[self._case.backend].one_by_one
        return operators(self._net, [self._images]) if one_by_one else []


def _check(job: Job, original: nn.Module, fused: Fused, seen: Tensor) -> _Checked:
    """Check the form in the first round, and the structure in later ones."""
    case, net = job.case, fused.network
    if job.facts is not None:
        return _Checked(_check_structure(net, job.facts))
    reference = check.outputs(original, seen, case) if check.differences(case) else None
    facts = _count_cost(case, original, net, [seen[:1]])
    facts = structs.replace(facts, files=user.imported_files(job.source), notes=fused.notes)
    if net is not original and reference is not None:
        try:
            facts = check.check_form(case, facts, original, net, seen, reference)
        except CheckError:
            calls.check_answers(original, seen[:CHECKED_IMAGES], case.precision)
            raise
    return _Checked(facts, reference, check.tolerance(case, net, seen, reference))


def _merged(notes: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*notes, *more]))


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
