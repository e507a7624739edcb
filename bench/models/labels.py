"""Labels: the names that the user gives to networks, for tables and figures.

A run writes its labels into its environment. Readers put them on the cases of all records that
they read. Importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from bench.errors import UsageError
from bench.models import naming
from bench.models.forms import ONLY
from bench.models.naming import HASH, without_hash
from bench.records import Case, CaseRecord, Environment, Record
from bench.text import some_of

FORMAT = "Write the model, an equals sign and the label: --label nets/mine.py:net=MyNet"
SHOWN = 20

RecordT = TypeVar("RecordT", bound=Record)


class Label(NamedTuple):
    """A label as the user gave it. `key` names the model; `where` is what to call the input."""

    key: str
    label: str
    where: str


def parse(
    texts: Sequence[str], cases: Iterable[Case], typed: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return label by model for the texts of --label, such as `nets/mine.py:net=MyNet`.

    `cases` are the cases of the run or report. `typed` maps other names of a model, as typed in
    --models, to the model. Raises UsageError for a text that is no label of a model of `cases`, and
    for a label that names two networks.
    """
    networks = list(cases)
    found = [_parsed(text, networks, typed or {}) for text in texts]
    return resolve(found, networks, typed or {})


def resolve(
    given: Sequence[Label], cases: Sequence[Case], typed: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return label by model; a label without a case is ignored.

    Raises UsageError where a network would have two labels, or a label two networks.
    """
    found: dict[str, Label] = {}
    for each in given:
        check(each.label, each.where)
        for model in models(each.key, cases, typed):
            earlier = found.setdefault(model, each)
            if earlier.label != each.label:
                raise UsageError(
                    f"two labels for {without_hash(model)}: {earlier.label!r} and {each.label!r}",
                    "Leave one of them.",
                )
    labels = {model: each.label for model, each in found.items()}
    _check_unique(labels, cases)
    return labels


def check(label: str, where: str) -> None:
    """Raise UsageError for a label that is empty or has unprintable characters."""
    if not label.strip():
        raise UsageError(f"{where}: the label is empty", FORMAT)
    if not label.isprintable():
        raise UsageError(f"{where}: unprintable characters in the label {label!r}", FORMAT)


def on_record(records: Iterable[Record]) -> dict[str, str]:
    """Return label by model, from all runs; the label of the last run wins and comes last."""
    return merged(*(each.labels for each in records if isinstance(each, Environment)))


def merged(*several: Mapping[str, str]) -> dict[str, str]:
    """Return label by model from all mappings; a later label wins and comes last."""
    found: dict[str, str] = {}
    for labels in several:
        for model, label in labels.items():
            found.pop(model, None)
            found[model] = label
    return found


def stamped(records: Sequence[RecordT], labels: Mapping[str, str]) -> list[RecordT]:
    """Return the records with labels on their cases."""
    return [_stamped(record, labels) for record in records]


def settled(labels: Mapping[str, str], measured: Iterable[str]) -> dict[str, str]:
    """Return the labels, each for one model of `measured`: of several, the last keeps the label.

    Another version of the same file gets its hash after the label: `MyNet#1a2b3c4d`. Any other
    network loses the label, and a network without a label keeps its title.
    """
    taken = {
        naming.network_title(model, ONLY).casefold(): model
        for model in measured
        if model not in labels
    }
    found = {}
    for model, label in reversed(list(labels.items())):
        holder = taken.setdefault(label.casefold(), model)
        if holder == model:
            found[model] = label
        elif without_hash(holder) == without_hash(model):
            found[model] = label + "".join(HASH.findall(model))
    return found


def models(key: str, cases: Iterable[Case], typed: Mapping[str, str] | None = None) -> list[str]:
    """Return the models that `key` names: their names, with or without hash, titles and labels.

    Versions of one file have one name without hash. `typed` as in `parse`.
    """
    wanted = (typed or {}).get(key, key)
    found, titled = [], []
    for case in cases:
        titles = [naming.network_title(case.model, form, case.label) for form in (ONLY, case.form)]
        if wanted in (case.model, without_hash(case.model)):
            found.append(case.model)
        elif key.casefold() in (title.casefold() for title in titles):
            titled.append(case.model)
    return list(dict.fromkeys(found or titled))


def _parsed(text: str, cases: Sequence[Case], typed: Mapping[str, str]) -> Label:
    """Split `model=label` at the first = that has a model of `cases` before it."""
    if "=" not in text:
        raise UsageError(f"--label {text!r} has no equals sign", FORMAT)
    parts = text.split("=")
    for count in range(1, len(parts)):
        key, label = "=".join(parts[:count]).strip(), "=".join(parts[count:]).strip()
        if models(key, cases, typed):
            return Label(key, label, f"--label {text!r}")
    names = list(dict.fromkeys(without_hash(case.model) for case in cases))
    raise UsageError(
        f"--label {text!r}: no case of a model {parts[0].strip()!r}",
        f"Name a model without @form. The models are: {some_of(names, SHOWN)}.",
    )


def _check_unique(labels: Mapping[str, str], cases: Sequence[Case]) -> None:
    """Raise UsageError if a label names two networks, or is the title of another network.

    Versions of one file may share a label.
    """
    named = [(label, model) for model, label in labels.items()]
    for case in cases:
        title = naming.network_title(case.model, case.form, labels.get(case.model, ""))
        named.append((title, case.model))
    holders: dict[str, str] = {}
    for title, model in named:
        other = holders.setdefault(title.casefold(), model)
        both = [without_hash(each) for each in (other, model)]
        if both[0] != both[1] and {other, model} & set(labels):
            raise UsageError(
                f"two networks would be called {title!r}: {both[0]} and {both[1]}",
                "Give each network a label of its own.",
            )


def _stamped(record: RecordT, labels: Mapping[str, str]) -> RecordT:
    if not isinstance(record, CaseRecord):
        return record
    label = labels.get(record.case.model, "")
    if label == record.case.label:
        return record
    case = msgspec.structs.replace(record.case, label=label)
    return msgspec.structs.replace(record, case=case)
