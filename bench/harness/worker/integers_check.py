"""What 8-bit integers cost a network, and what the runtime adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs
from torch import Tensor

from bench.backends.backend import Call
from bench.devices import precision
from bench.harness.worker import check
from bench.harness.worker.artifact_check import answers_to
from bench.harness.worker.calls import CHECKED_IMAGES
from bench.harness.worker.check import CheckError
from bench.harness.worker.loaded import Checked
from bench.harness.worker.outputs import rows_of
from bench.records import Artifact, Case

TOO_COARSE = (
    "8-bit integers change the answers by {:.2g} of what they differ by between two images, even "
    "computed operator by operator in float32; above {:g}, a right engine cannot be told from a "
    "wrong one. Use another --precision."
)
NO_FLOATS = (
    "the outputs are integers, in which one that is next to the right one looks wrong; let the "
    "network return its values in floating point, or use another --precision"
)
ADDED = 1.5  # roundings at other places add to independent errors of the same size: sqrt(2)
OF_THE_FILE = "what its own file computes operator by operator in float32"


def checked(
    case: Case,
    known: Checked,
    literal: Call,
    run: Call,
    example: Sequence[Tensor],
    artifact: Artifact,
) -> Artifact:
    """Compare what the runtime computes in `run` with what its file computes; return the artifact.

    `literal` executes the file operator by operator in float32. Both read the tensors of `example`.
    What the file loses against the network is due to the integers. The runtime, which rounds at
    other places, may differ from the file by ADDED times as much, or by the precision's `least`.
    Raises CheckError where it differs by more, or where the integers cost too much to tell.
    """
    assert artifact.quantised is not None
    rule = precision.PRECISIONS[case.precision]
    pairs = [_Answers(_rows(case, literal()), _rows(case, run()), known.reference or [])]
    if (natural := known.natural) is not None:
        of_file, of_run = (
            answers_to(case, each, example, natural.images) for each in (literal, run)
        )
        pairs.append(_Answers(of_file, of_run, natural.reference))
    error = max(check.relative_error(each.of_file, each.wanted) for each in pairs)
    if not error <= rule.tolerance:
        raise CheckError(TOO_COARSE.format(error, rule.tolerance))
    limit = max(ADDED * error, rule.least)
    added = [each.added(limit) for each in pairs]
    quantised = structs.replace(artifact.quantised, error=error, added=max(added))
    return structs.replace(artifact, quantised=quantised)


class _Answers(NamedTuple):
    """What the file computes literally, what the runtime does, and the network in float32."""

    of_file: Sequence[Tensor]
    of_runtime: Sequence[Tensor]
    wanted: Sequence[Tensor]

    def added(self, limit: float) -> float:
        """Return the error of the runtime against the file. Raises CheckError above `limit`.

        It is relative to what the answers in float32 differ by between images: the difference is
        added to these.
        """
        if not any(each.is_floating_point() for each in self.of_runtime):
            raise CheckError(NO_FLOATS)
        moved = []
        for before, after, wanted in zip(*self, strict=True):
            expected = wanted[: len(after)] if after.dim() else wanted
            is_float = after.is_floating_point()
            moved.append(expected + (after - before) if is_float else expected)
        found = check.compare(moved, self.wanted, OF_THE_FILE, limit)
        return found.largest_relative_error or 0.0


def _rows(case: Case, output: object) -> list[Tensor]:
    return [each.clone() for each in rows_of(output, case.batch, CHECKED_IMAGES)]
