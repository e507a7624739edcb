"""The passport of an exported network: what the user's file says of itself."""

from __future__ import annotations

import msgspec
from torch import nn

from bench.harness.protocol.messages import CaseFacts
from bench.models import preprocessing
from bench.models.naming import weights_of
from bench.records import Case


def passport(
    case: Case, net: nn.Module, facts: CaseFacts, versions: dict[str, str]
) -> dict[str, object]:
    """Return what a file says of its network: form, counts, errors, inputs, preprocessing.

    `macs` are the multiply-accumulates of one image. The errors are relative to the largest
    difference between the outputs of two images: of the form against the network as trained, both
    in torch; and of the file against eager fp32, on random and on natural-looking images. The
    preprocessing of a user's network is not known. `quantised` is what the record says of integers.
    """
    known, made, weights = facts.passport, facts.artifact, weights_of(case)
    is_own = ":" in case.model
    return {
        "model": case.model,
        "form": case.form,
        "precision": case.precision,
        "weights": weights,
        "params": facts.cost.params,
        "macs": facts.cost.macs,
        "error_against_train": known.largest_relative_error if known else None,
        "error_against_eager": facts.check.largest_relative_error,
        "error_on_smooth_images": made.smooth_error if made else None,
        "inputs": made.inputs if made else {},
        "outputs": made.outputs if made else {},
        "preprocessing": None if is_own else msgspec.to_builtins(preprocessing.of(net)),
        "exporter": made.exporter if made else None,
        "opset": (made.opset if made else 0) or None,
        "quantised": msgspec.to_builtins(made.quantised) if made else None,
        "versions": versions,
    }
