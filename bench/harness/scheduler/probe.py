"""Builds the user's networks before a run, each in a process of its own, to tell what they are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bench.errors import UsageError
from bench.harness.protocol.messages import Probe, Probed
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.template import Template
from bench.models.user import UserModel, identified

DEADLINE_S = 120.0
AT_ONCE = 4  # processes


class Identified(NamedTuple):
    """A model under its name, the channels of its input, and sentences about its weights."""

    model: UserModel
    channels: int = 3
    notes: Sequence[str] = ()


def identify(models: Sequence[UserModel], device: str, resolution: int) -> list[Identified]:
    """Return the models, named by the files that they import and by the network that they build.

    The weights of a model are tried with it, at `resolution` pixels. A model whose code raises an
    exception, hangs or kills its process keeps the name that the files known until then give it:
    its failure belongs to the run. Raises UsageError if a file is no Python, if it has no such
    factory, if the factory needs arguments or returns no network, or if the weights do not fit.
    """
    answers: list[Probed | None] = []
    if models:
        with Template(device) as template:
            for first in range(0, len(models), AT_ONCE):
                answers += _probe(template, models[first : first + AT_ONCE], resolution)
    return [_identified(*each) for each in zip(models, answers, strict=True)]


def _probe(template: Template, models: Sequence[UserModel], resolution: int) -> list[Probed | None]:
    """Build the models at the same time; None for a process that gave no answer."""
    answers: list[Probed | None] = []
    try:
        children = [template.fork(Probe(model.source, resolution)) for model in models]
        for child in children:
            try:
                reply = child.answer(DEADLINE_S)
                child.end()
            except CaseError:
                answers.append(None)
            else:
                answers.append(reply if isinstance(reply, Probed) else None)
    except (CaseError, TemplateDiedError):
        answers += itertools.repeat(None, len(models) - len(answers))
    return answers


def _identified(model: UserModel, answer: Probed | None) -> Identified:
    if answer and answer.refused:
        raise UsageError(f"{model.code}: {answer.refused}", answer.remedy)
    if not model.source.factory:  # the name of the weights has their hash
        return Identified(model, answer.channels, answer.notes) if answer else Identified(model)
    known = dict(model.source.files)
    if answer is None:
        return Identified(identified(model, known))
    built = (answer.structure, answer.params, answer.macs)
    named = identified(model, known | answer.files, built)
    return Identified(named, answer.channels, answer.notes)
