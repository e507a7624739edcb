"""A network that a backend has loaded: its calls are checked, its process is watched."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs
from torch import Tensor, nn

from bench.backends import BACKENDS, artifacts
from bench.backends.backend import Calibration
from bench.devices import precision
from bench.devices.process_state import ProcessState
from bench.errors import UsageError
from bench.harness.protocol.messages import CaseFacts, Evaluate, Evaluated, Export
from bench.harness.worker import calls, check, export
from bench.harness.worker.artifact_check import Natural
from bench.harness.worker.calls import CHECKED_IMAGES, compared_rows
from bench.harness.worker.check import CheckError
from bench.harness.worker.errors import explained
from bench.harness.worker.evaluate import Evaluator, Trained
from bench.harness.worker.inputs import first
from bench.harness.worker.outputs import picked, tensors_of
from bench.harness.worker.photos import Photos
from bench.harness.worker.pipeline import ImagePipeline
from bench.harness.worker.timing import Changed, Clock, Pipeline, Prepared, Unseen
from bench.harness.worker.unseen import UNCHECKED, UnseenImages
from bench.models import counter
from bench.models.operators import operators
from bench.models.preprocessing import IMAGENET, Preprocessing
from bench.records import Artifact, Case, Operator

if TYPE_CHECKING:
    from bench.backends.runtime import RuntimeProfile


class Checked(NamedTuple):
    """The facts of a case before its first call, and what its outputs are compared with.

    `natural` has images for a network that is exported; None where it was checked before.
    `calibration` has those on which ranges are found, for a network that is quantised; `photos`
    those of the user, if they gave some.
    """

    facts: CaseFacts
    reference: Sequence[Tensor] | None = None
    tolerance: float = 0.0
    natural: Natural | None = None
    calibration: Calibration | None = None
    photos: Photos | None = None


class Loaded:
    """A loaded network: what is known of it before the first call, and its first output."""

    def __init__(
        self,
        case: Case,
        checked: Checked,
        net: nn.Module,
        inputs: Sequence[Tensor],
        run: Callable[[], object],
        artifact: Artifact | None,
        state: ProcessState,
        unseen: UnseenImages,
        trained: Trained | None = None,
        preprocessing: Preprocessing = IMAGENET,
    ) -> None:
        self._case = case
        self._checked = checked
        self._net = net
        self._inputs = inputs
        self._run = run
        self._artifact = artifact
        self._state = state
        self._unseen = unseen
        self._trained = trained
        self._preprocessing = preprocessing
        self._given = [each[:CHECKED_IMAGES].clone() for each in inputs]
        self._rows = compared_rows(case.batch)
        self._first: list[Tensor] = []
        self._usual: list[Tensor] = []  # of these, what images that it never saw replace

    def prepared(self) -> Prepared:
        """Return the functions that the child calls; `call` is that of the backend itself."""
        return Prepared(
            self._run,
            self.inspect,
            self.explained,
            self.compare,
            self.changed,
            self.operators,
            self.profiler,
            self.unseen,
            self.settings,
            self.export,
            self.evaluate,
            self.pipeline,
        )

    def explained(self, error: Exception) -> Exception:
        """Return an error of the first call with what the network was given."""
        if not BACKENDS[self._case.backend].one_by_one:
            return error  # the backend does not accept the network
        return explained(error, self._case, self._net, self._inputs)

    def inspect(self, output: object) -> CaseFacts:
        """Check the first output, and that its call left the images as they were."""
        calls.check_inputs(first(self._inputs, CHECKED_IMAGES), self._given)
        facts, reference, tolerance, *_ = self._checked
        try:
            facts = check.inspect(output, self._case, facts, reference, tolerance)
        except CheckError:
            calls.check_answers(self._net, self._given, self._case.precision)
            raise
        self._first = self._compared(output)
        self._usual = self._compared(output, CHECKED_IMAGES)
        facts = structs.replace(facts, artifact=self._artifact)
        self._state.restore()
        return structs.replace(facts, notes=list(dict.fromkeys([*facts.notes, *self._state.notes])))

    def compare(self, output: object) -> None:
        """Raise NotRepeatableError where a later output is not finite, or not the first one."""
        is_finite = all(bool(each.isfinite().all()) for each in tensors_of(output))
        change = calls.difference(self._first, self._compared(output)) if is_finite else math.inf
        if not change <= precision.repeatability(self._case.precision):
            calls.check_answers(self._net, self._given, self._case.precision)
            raise calls.NotRepeatableError(calls.FROM_STATE.format(change))

    def _compared(self, output: object, most: int | None = None) -> list[Tensor]:
        return calls.wide(picked(output, self._case.batch, self._rows[:most]))

    def unseen(self, now: Clock, typical_s: float) -> Unseen:
        """Call the network on images that it never saw. Raises StoredAnswerError."""
        if not BACKENDS[self._case.backend].takes_new_images:
            reason = f"the backend {self._case.backend} does not take other images"
            return Unseen([], [], [UNCHECKED.format(reason)])
        return self._unseen.call(self._run, self._inputs, self._usual, now, typical_s)

    def changed(self) -> Changed:
        """Return the settings that differed while the network was timed."""
        return changed(self._run, self._state)

    def settings(self) -> Mapping[str, str | int]:
        """Return the settings of the runtime, and which file it executes."""
        if self._artifact is None:
            return {}
        known = BACKENDS[self._case.backend].settings(self._run)
        return {**known, "artifact": self._artifact.file_hash}

    def export(self, facts: CaseFacts, wanted: Export) -> CaseFacts:
        """Write the exported network with its passport to a file, if a path is wanted.

        Return the facts, with how often a quantised network agrees on photographs of the user.
        """
        facts = self._with_agreement(facts)
        if facts.artifact and wanted.path:
            content = artifacts.content_of(facts.artifact)
            passport = export.passport(self._case, self._net, facts, wanted.versions)
            backend = BACKENDS[self._case.backend]
            parts = backend.with_passport(content, passport)
            for end, part in zip(backend.file_ends, parts, strict=True):
                Path(wanted.path + end).write_bytes(part)  # the parent gives it its final name
        return facts

    def evaluate(self, wanted: Evaluate, classified: Callable[[int], object]) -> Evaluated:
        """Classify images, by the loaded network and by the network as trained."""
        assert self._trained is not None
        if not BACKENDS[self._case.backend].takes_new_images:
            raise UsageError(
                f"the backend {self._case.backend} takes no other images", "Use another --backend."
            )
        tolerance = self._checked.facts.check.tolerance
        own = Evaluator(self._case, self._run, self._inputs, self._trained, tolerance)
        return own.evaluate(wanted, classified)

    def pipeline(self) -> Pipeline:
        """Return what comes before and after the network. Raises PipelineError."""
        return ImagePipeline(self._case, self._run, self._inputs, self._preprocessing)

    def _with_agreement(self, facts: CaseFacts) -> CaseFacts:
        photos, made = self._checked.photos, facts.artifact
        if photos is None or made is None or made.quantised is None:
            return facts
        found = photos.agreement(self._case, self._run, self._inputs, self._net)
        quantised = structs.replace(made.quantised, agreement=found)
        return structs.replace(facts, artifact=structs.replace(made, quantised=quantised))

    def operators(self) -> list[Operator]:
        """List the operators of one call, where the backend or its profiler tells them apart.

        The list is empty where torch shows no operators.
        """
        is_known = BACKENDS[self._case.backend].one_by_one or self._artifact is not None
        mode = counter.visible_mode() if is_known else None
        return operators(self._net, self._inputs, mode) if mode else []

    def profiler(self) -> tuple[RuntimeProfile, int] | None:
        """Return the runtime's profiler, if any, and the number of nodes that it executes."""
        if self._artifact is None:
            return None
        found = BACKENDS[self._case.backend].profile(self._run, self._artifact)
        return found and (found, sum(self._artifact.operators.values()))


def changed(run: Callable[[], object], state: ProcessState) -> Changed:
    """Return the settings that differed while a network was timed, which `run` calls.

    Those are the settings that have changed since `state` restored them, or that cannot be set
    back. Where another process may have changed one, the network is called once more: what it then
    changes again was its work.
    """
    now, again = state.restore(), set[str]()
    if any(each.is_open for each in now):
        run()
        again = {each.name for each in state.restore()}
    found = Changed({}, {})
    for each in state.changes:
        if each.counts and (each in now or not each.is_restored):
            is_open = each.is_open and each.name not in again
            (found.unattributed if is_open else found.by_network)[each.name] = each.values
    return found
