"""The evaluations on record: accuracy with its interval, and agreement with the form `train`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.analysis.stats import Estimate, share
from bench.models.naming import code_of, weights_of, without_hash
from bench.paper.accuracy import Accuracy, Given, How
from bench.records import Case, Evaluation, Failure, Record, of_evaluations

MEASURED_HERE = (
    "measured here: {images} images of {dataset} at {pixels} pixels, {how}, weights {weights}"
)


class Evaluations(NamedTuple):
    """The evaluations that count, and the failures that count."""

    made: list[Evaluation]
    failures: list[Failure]


def latest(records: Iterable[Record]) -> Evaluations:
    """The last evaluation or failure of each case on each set of images, in any environment."""
    last: dict[tuple[str, str], Evaluation | Failure] = {}
    for record in of_evaluations(records):
        key = (record.case_id, record.data)
        last.pop(key, None)  # the order is that of the last ones
        last[key] = record
    made = [each for each in last.values() if isinstance(each, Evaluation)]
    return Evaluations(made, [each for each in last.values() if isinstance(each, Failure)])


def top1(made: Evaluation) -> Estimate:
    """The share of images whose class is the first answer, with its 95 % interval (Wilson)."""
    return share(made.top1, made.images)


def top5(made: Evaluation) -> Estimate | None:
    """The share of images whose class is among the first five answers; None for few classes."""
    return None if made.top5 is None else share(made.top5, made.images)


def agreement(made: Evaluation) -> Estimate | None:
    """The share of images with the first answer of the form `train`; None for that form itself."""
    return None if made.same is None else share(made.same, made.images)


def how(case: Case) -> How:
    """How a case computes, as far as its accuracy depends on it."""
    return How(case.form, case.backend, case.precision)


def accuracies(records: Iterable[Record]) -> list[Given]:
    """The top-1 of each evaluated case in per cent, the one made last first.

    Cases whose images have a shape of their own are left out: an accuracy is known by pixels alone.
    """
    made = reversed(latest(records).made)
    return [_given(each) for each in made if not each.case.input]


def _given(made: Evaluation) -> Given:
    case, found = made.case, top1(made)
    detail = MEASURED_HERE.format(
        images=made.images,
        dataset=made.dataset,
        pixels=case.resolution,
        how=" ".join(how(case)),
        weights=weights_of(case),
    )
    point, low, high = (100 * each for each in found)
    accuracy = Accuracy(point, made.dataset, case.resolution, "evaluated", detail, low, high)
    return Given(case.model, accuracy, how=how(case))


def of_trainings(made: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Evaluations of one network in one way with several weights, on the same images.

    Files of weights that have one name in several folders are those of several trainings.
    """
    found: dict[tuple[object, ...], dict[str, Evaluation]] = {}
    for each in made:
        case = each.case
        file = without_hash(weights_of(case)).rpartition("/")[2]
        key = (code_of(case), file, how(case), case.resolution, case.input, each.data)
        found.setdefault(key, {})[each.weights_hash] = each
    return [list(several.values()) for several in found.values() if len(several) > 1]
