"""Asks questions about networks before a run, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.protocol.messages import Probe, Reply, Trial
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.template import Template, TemplateDeaths

DEADLINE_S = 120.0


def answers(
    device: str, questions: Sequence[Probe | Trial], at_once: int
) -> list[Reply | CaseError | None]:
    """Return the answer to each question; `at_once` processes run at the same time.

    A CaseError stands for a process that failed; None for a question that nobody could answer,
    because the template died or the system allows no more processes. Raises UsageError where the
    template is killed repeatedly while it starts.
    """
    found: list[Reply | CaseError | None] = []
    if questions:
        with _template(device) as template:
            for first in range(0, len(questions), at_once):
                found += _answers(template, questions[first : first + at_once])
    return found


def _template(device: str) -> Template:
    """Start a template; one that is killed while it starts is replaced by another."""
    deaths = TemplateDeaths()
    while True:
        try:
            return Template(device)
        except TemplateDiedError:
            deaths.count(None)


def _answers(
    template: Template, questions: Sequence[Probe | Trial]
) -> list[Reply | CaseError | None]:
    found: list[Reply | CaseError | None] = []
    try:
        children = [template.fork(question) for question in questions]
        for child in children:
            try:
                reply = child.answer(DEADLINE_S)
                child.end()
            except CaseError as error:
                found.append(error)
            else:
                found.append(reply)
    except (CaseError, TemplateDiedError):
        found += [None] * (len(questions) - len(found))
    return found
