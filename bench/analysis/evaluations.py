"""The evaluations on record: accuracy with its interval, and agreement with the form `train`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.analysis.stats import Estimate, share
from bench.models.naming import weights_of
from bench.paper.accuracy import FP32, Accuracy, Given
from bench.records import Case, Evaluation, Failure, Record, of_evaluations

MEASURED_HERE = "measured here: {images} images of {dataset} at {pixels} pixels, {weights}"


class Evaluations(NamedTuple):
    """The last evaluation of each case on each data set, and cases that failed after their last."""

    made: list[Evaluation]
    failures: list[Failure]


def latest(records: Iterable[Record]) -> Evaluations:
    """The evaluations that count, in the order in which they were first made.

    Of several of one case on one data set, the last one counts, in whatever environment.
    """
    made: dict[tuple[str, str], Evaluation] = {}
    failures: dict[str, Failure] = {}
    for record in of_evaluations(records):
        if isinstance(record, Failure):
            failures[record.case_id] = record
        else:
            made[record.case_id, record.dataset] = record
            failures.pop(record.case_id, None)
    return Evaluations(list(made.values()), list(failures.values()))


def top1(made: Evaluation) -> Estimate:
    """The share of images whose class is the first answer, with its 95 % interval (Wilson)."""
    return share(made.top1, made.images)


def top5(made: Evaluation) -> Estimate | None:
    """The share of images whose class is among the first five answers; None for few classes."""
    return None if made.top5 is None else share(made.top5, made.images)


def agreement(made: Evaluation) -> Estimate | None:
    """The share of images with the first answer of the form `train`; None for that form itself."""
    return None if made.same is None else share(made.same, made.images)


def how(case: Case) -> str:
    """Form, backend and precision of a case: `rrep onnxruntime int8`."""
    return f"{case.form} {case.backend} {case.precision}"


def accuracies(records: Iterable[Record]) -> list[Given]:
    """The top-1 of each evaluated case in per cent, the one made last first."""
    return [_given(made) for made in reversed(latest(records).made)]


def _given(made: Evaluation) -> Given:
    case, found = made.case, top1(made)
    detail = MEASURED_HERE.format(
        images=made.images,
        dataset=made.dataset,
        pixels=case.resolution,
        weights=f"weights {weights_of(case)}",
    )
    accuracy = Accuracy(
        100 * found.point,
        made.dataset,
        case.resolution,
        "evaluated",
        detail,
        100 * found.low,
        100 * found.high,
    )
    return Given(case.model, accuracy, how=how(case))


def is_exact(case: Case) -> bool:
    """Whether the case computes in fp32, like the form `train` in eager mode."""
    return how(case).endswith(FP32)


def of_trainings(made: Sequence[Evaluation]) -> dict[tuple[str, ...], list[Evaluation]]:
    """Evaluations of one network with several files of weights, by what else they have in common.

    The key is the code of the network, form, backend, precision, pixels and data set.
    """
    found: dict[tuple[str, ...], list[Evaluation]] = {}
    for each in made:
        case = each.case
        code = case.model.removesuffix(f"+{weights_of(case)}")
        key = (code, case.form, case.backend, case.precision, str(case.resolution), each.dataset)
        found.setdefault(key, []).append(each)
    return {key: several for key, several in found.items() if len(several) > 1}
