"""Turns a case into a callable network whose output is checked: build, fuse, check, load."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from msgspec import structs
from torch import Tensor, nn

from bench import models
from bench.backends import BACKENDS
from bench.devices import Session, precision
from bench.devices.process_state import ProcessState
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker import calls, check, training
from bench.harness.worker.artifact_check import natural
from bench.harness.worker.backend_check import check_in_float32
from bench.harness.worker.calibration import NOT_ACCURATE, synthetic
from bench.harness.worker.calls import CHECKED_IMAGES
from bench.harness.worker.check import CheckError
from bench.harness.worker.errors import explaining
from bench.harness.worker.evaluate import Trained
from bench.harness.worker.inputs import SEED, first, inputs_of, seeded
from bench.harness.worker.load import NotExportedError, load
from bench.harness.worker.loaded import Checked, Loaded
from bench.harness.worker.photos import Photos
from bench.harness.worker.timing import Prepared, StageClock
from bench.harness.worker.unseen import CALLS, LATER_CALLS, UnseenImages
from bench.models import cost, forms, preprocessing, user
from bench.models.dtypes import cast, cast_tensor
from bench.models.fuse import Fused, fuse_with_notes
from bench.models.naming import USUAL
from bench.records import Case, Check, Cost, Passport


def prepare(job: Job, session: Session, clock: StageClock) -> Prepared:
    """Build, fuse and load the network of `job`; return it with the check of its first output.

    The first round compares a fused form with the unfused network, in fp32 on the CPU. If backend,
    precision or device differ from eager, fp32, CPU, it also compares the output of the first call
    with that reference, on the network that will be timed. In a reduced precision, it first
    compares the output of the backend in fp32. Later rounds only compare the structure. For a
    training step, it compares gradients.
    Settings of the process that the network's code changes are set back after each stage.
    Raises CheckError for a wrong output or structure, and any error of the network or backend.
    """
    case, state = job.case, ProcessState()
    inputs = inputs_of(case, job.source)
    with clock.stage("build"):
        original = models.build(
            case.model,
            resolution=case.resolution,
            seed=SEED,
            source=job.source,
            inputs=inputs,
            after_code=state.restore,
        )
        photos = _photos(job, original)
        seen = seeded(inputs, case, CHECKED_IMAGES)
        if photos is not None:
            seen = photos.checked(max(case.batch, CHECKED_IMAGES))
    with clock.stage("fuse"):
        is_built = forms.find(case.form).is_built
        one = first(seen, 1)
        fused = Fused(original, []) if is_built else fuse_with_notes(original, case.form, one)
        net = fused.network
    with clock.stage("check"):
        with explaining(case, original, seen):
            checked = _check(job, original, fused, seen, photos)
        state.restore()
        unseen = None if case.trains else _unseen(job, net, seen, checked, session, state)
    trained = _trained(job, original, session) if job.evaluate else None
    known = preprocessing.of(original)
    del original
    with clock.stage("load"):
        if unseen is None:
            return training.prepared(job, checked.facts, net, seen, session, state)
        dtype = precision.dtype(BACKENDS[case.backend].given(case.precision))
        net = cast(net, dtype, session.torch_device)
        given = first(seen, case.batch)
        example = [cast_tensor(each, dtype, session.torch_device) for each in given]
        if BACKENDS[case.backend].exporters:  # a runtime reads the memory of a tensor in order
            example = [each.contiguous() for each in example]
        unseen.keep(net)
        try:
            run, artifact = load(case, checked, net, example)
        except (NotExportedError, CheckError):
            calls.check_answers(net, first(example, CHECKED_IMAGES), case.precision)
            raise
        state.restore()
    own = (case, checked, net, example, run, artifact, state, unseen, trained, known)
    return Loaded(*own).prepared()


def _trained(job: Job, original: nn.Module, session: Session) -> Trained:
    """Return what an evaluation compares the case with; in eager fp32, the original with itself."""
    case, network = job.case, None
    setting = (case.backend, case.precision)
    if not forms.find(case.form).is_built or setting != (USUAL.backend, USUAL.precision):
        network = cast(copy.deepcopy(original), torch.float32, session.torch_device)
    return Trained(preprocessing.of(original), cost.weights_hash(original), network)


def _unseen(
    job: Job,
    net: nn.Module,
    seen: Sequence[Tensor],
    checked: Checked,
    session: Session,
    state: ProcessState,
) -> UnseenImages:
    """Return the images that no call has seen before the end; check a reduced precision in fp32."""
    case = job.case
    tolerance = checked.tolerance or precision.tolerance(case.precision, None)
    most_calls = CALLS if job.round == 1 else LATER_CALLS
    unseen = UnseenImages(case, net, seen, tolerance, most_calls)
    state.restore()
    if checked.reference is not None and precision.is_reduced(case.precision):
        _check_backend(case, net, seen, checked, session)
        state.restore()
    return unseen


def _photos(job: Job, original: nn.Module) -> Photos | None:
    """Return the photographs of the user on which the network is to be quantised, if any."""
    folder = job.export.images if job.export else ""
    return Photos(folder, job.case, original) if folder else None


def _check(
    job: Job,
    original: nn.Module,
    fused: Fused,
    seen: Sequence[Tensor],
    photos: Photos | None,
) -> Checked:
    """Check the form in the first round, and the structure in later ones."""
    case, net = job.case, fused.network
    if job.facts is not None:
        return Checked(_check_structure(net, job.facts))
    reference = check.outputs(original, seen, case) if check.differences(case) else None
    facts = structs.replace(_count_cost(case, original, net, first(seen, 1)), notes=fused.notes)
    if job.source:
        files, notes = user.imported_files(job.source), user.notes(job.source)
        facts = structs.replace(facts, files=files, notes=[*facts.notes, *notes])
    if net is not original and reference is not None:
        try:
            facts = check.check_form(case, facts, original, net, seen, reference)
        except CheckError:
            calls.check_answers(original, first(seen, CHECKED_IMAGES), case.precision)
            raise
    tolerance = check.tolerance(case, net, seen, reference)
    if not BACKENDS[case.backend].exporters:
        return Checked(facts, reference, tolerance)
    if photos is not None:  # the checks are on photographs, too
        return Checked(facts, reference, tolerance, None, photos.calibration(case.batch), photos)
    is_own = bool(job.source and job.source.factory)
    found = natural(case, original, net, seen, is_own)
    images = None if isinstance(found, str) else found
    notes = [found] if isinstance(found, str) else []
    ranges = None
    if precision.is_quantised(case.precision):
        ranges = synthetic(case, inputs_of(case, job.source), images)
        notes.append(NOT_ACCURATE.format(ranges.about))
    facts = structs.replace(facts, notes=[*facts.notes, *notes])
    return Checked(facts, reference, tolerance, images, ranges)


def _check_backend(
    case: Case,
    net: nn.Module,
    seen: Sequence[Tensor],
    checked: Checked,
    session: Session,
) -> None:
    """Check the backend in float32. Raises CheckError, also where the network itself is wrong."""
    try:
        check_in_float32(case, net, seen, checked, session)
    except CheckError:
        calls.check_answers(net, first(seen, CHECKED_IMAGES), case.precision)
        raise


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
