"""Loads a network into its backend; for some backends, it is exported into a file first."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bench.backends import BACKENDS
from bench.backends.artifacts import ArtifactError
from bench.backends.backend import Call
from bench.harness.worker import artifact_check, check, integers_check
from bench.harness.worker.check import CheckError
from bench.harness.worker.errors import kind_of
from bench.harness.worker.loaded import Checked
from bench.records import OUT_OF_MEMORY, Artifact, Case
from bench.text import brief

NOT_EXPORTED = "the network cannot be exported for {}: {}. Use another --backend."
WRONG_FILE = "no file that was exported for {} computes what the network does: {}"


class NotExportedError(Exception):
    """No exporter makes a file of the network that the runtime executes."""


def load(
    case: Case, checked: Checked, net: nn.Module, example: Sequence[Tensor]
) -> tuple[Call, Artifact | None]:
    """Return a call of the loaded network, and the file that it executes, if any.

    A network that was exported before is read from that file. Otherwise the first exporter counts
    whose file computes what the network does. Raises NotExportedError if there is none, or
    CheckError if a file computes something else.
    """
    backend = BACKENDS[case.backend]
    if known := checked.facts.artifact:
        return backend.open(known, example, case.precision), known
    if not backend.exporters:
        return backend.load(net, example, case.precision), None
    reasons: list[str] = []
    is_wrong = False
    for exporter in backend.exporters:
        try:
            return _exported(case, checked, net, example, exporter)
        except ArtifactError:
            raise
        except Exception as error:  # exporters and runtimes raise errors of many types
            if kind_of(error) == OUT_OF_MEMORY:
                raise
            is_wrong = is_wrong or isinstance(error, CheckError)
            reasons.append(f"{exporter}: {brief(error)}")
    if is_wrong:
        raise CheckError(WRONG_FILE.format(case.backend, "; ".join(reasons)))
    raise NotExportedError(NOT_EXPORTED.format(case.backend, "; ".join(reasons)))


def _exported(
    case: Case, checked: Checked, net: nn.Module, example: Sequence[Tensor], exporter: str
) -> tuple[Call, Artifact]:
    """Export and load the network, and check what the runtime computes and executes."""
    backend = BACKENDS[case.backend]
    identity = f"{case.model}@{case.form} {checked.facts.structure}"
    made = backend.export(net, example, case.precision, exporter, identity, checked.calibration)
    run = backend.open(made, example, case.precision)
    if made.quantised is not None:
        literal = backend.literal(made, example)
        made = integers_check.checked(case, checked, literal, run, example, made)
    check.inspect(run(), case, checked.facts, checked.reference, checked.tolerance)
    return run, artifact_check.checked(case, run, example, net, made, checked.natural)
