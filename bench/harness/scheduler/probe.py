"""Builds the user's networks before a run, each in a process of its own, to tell what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.errors import UsageError
from bench.harness.protocol.messages import Probe, Probed
from bench.harness.scheduler.answers import answers
from bench.models.user import UserModel, identified
from bench.models.user.fit import RGB

AT_ONCE = 4  # processes


class Identified(NamedTuple):
    """A model under its name, the channels of its input, and sentences about its weights.

    `forms` are those of its network, () where it was not built. `makes_inputs`: whether its code
    has a function `example_inputs`.
    """

    model: UserModel
    channels: int = RGB
    notes: Sequence[str] = ()
    forms: Sequence[str] = ()
    makes_inputs: bool = False


def identify(models: Sequence[UserModel], device: str, resolution: int) -> list[Identified]:
    """Return the models, named by the files that they import and by the network that they build.

    The weights of a model are tried with it, at `resolution` pixels. A model whose code raises an
    exception, hangs or kills its process keeps the name that the files known until then give it:
    its failure belongs to the run. Raises UsageError if a file is no Python, if it has no such
    factory, if the factory needs arguments or returns no network, or if the weights do not fit.
    """
    questions = [Probe(model.source, resolution) for model in models]
    found = answers(device, questions, AT_ONCE)
    return [_identified(*each) for each in zip(models, found, strict=True)]


def _identified(model: UserModel, reply: object) -> Identified:
    """Name the model by a Probed; a model whose process gave no answer by its known files."""
    answer = reply if isinstance(reply, Probed) else None
    if answer and answer.refused:
        raise UsageError(f"{model.code}: {answer.refused}", answer.remedy)
    if model.source.factory:  # else the name of the weights has their hash
        built = (answer.structure, answer.params, answer.macs) if answer else ()
        files = answer.files if answer else {}
        model = identified(model, dict(model.source.files) | files, built)
    if answer is None:
        return Identified(model)
    return Identified(model, answer.channels, answer.notes, answer.forms, answer.makes_inputs)
