"""`accuracy.md`: accuracies measured here, in the layout of Table 2, beside the paper's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pandas as pd

from bench.analysis import evaluations
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate, mean_interval
from bench.models import naming, zoo
from bench.paper import accuracy
from bench.paper.accuracy import DATASETS
from bench.records import Case, Cost, Evaluation
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.tables.markdown import to_markdown_table
from bench.text import GIGA, MEGA, NOTHING, in_unit, markdown, milliseconds, significant

Place = tuple[object, ...]

HOW_TO_READ = """\
*Top-1* is the share of images whose class is the first answer. *Top-5* is the share of images \
whose class is among the first five answers. Both have Wilson's 95 % interval, which holds for \
other images of the same kind and for these weights. *As trained* compares each image with the \
network as it was trained, in eager fp32 on the same device: the share of images with the same \
first answer, the number of different answers, and the top-1 as trained. *Error* is the largest \
difference of a logit between both, relative to the range of the logits. In fp32, a case fails if \
the error exceeds its limit (docs/accuracy.md). Columns whose heading says paper show the paper's \
accuracies of the same architecture, on the paper's data and by its training: they say nothing \
about other data. *Latency* is the mean of the processes' medians at batch 1; † marks SUSPECT and \
‡ INVALID results."""
TRAININGS = """\
The interval is Student's *t* over trainings of one network that differ in their weights alone. It \
holds for other trainings of the same kind, on the same images."""


def render(devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """The page of all evaluations on these devices; nothing without any."""
    made = [each for device in devices for each in device.evaluations.made]
    failures = [each for device in devices for each in device.evaluations.failures]
    if not (made or failures):
        return {}
    timed = {device.label: _timed(device.rows) for device in devices}
    parts = ["# Accuracy, measured here"]
    made.sort(key=_data)
    for _, group in itertools.groupby(made, _data):
        several = list(group)
        lines = pd.DataFrame([_line(each, timed) for each in several])
        parts += [_heading(several[0]), to_markdown_table(_without_empty(lines))]
        if trainings := list(_trainings(several)):
            parts += ["### Over trainings", to_markdown_table(pd.DataFrame(trainings)), TRAININGS]
    parts += [HOW_TO_READ] * bool(made)
    warned = [
        f"- {markdown(naming.selector(each.case))}: {markdown(warning)}"
        for each in made
        for warning in each.warnings
    ]
    parts += ["## Notes\n\n" + "\n".join(warned)] * bool(warned)
    if failures:
        lines_of = [
            f"- {markdown(naming.selector(each.case))}: {markdown(each.error)}: "
            f"{markdown(each.message)}"
            for each in failures
        ]
        parts.append("## Failures\n\n" + "\n".join(lines_of))
    return {"accuracy.md": ("\n\n".join(parts) + "\n").encode()}


def _data(made: Evaluation) -> tuple[str, str, str]:
    """What evaluations of one table have in common."""
    return (made.dataset, naming.image(made.case), made.images_hash)


def _heading(made: Evaluation) -> str:
    name = DATASETS.get(made.dataset, made.dataset)
    return (
        f"## {markdown(name)} at {naming.image(made.case)}\n\n"
        f"{made.images} images of {made.classes} classes (hash {made.images_hash})."
    )


def _timed(rows: Sequence[Row]) -> dict[Place, Row]:
    """The rows at batch 1, by what an evaluation of the same network has, too."""
    found: dict[Place, Row] = {}
    for row in rows:
        if row.case.batch == 1:
            found.setdefault(_place(row.case), row)
    return found


def _place(case: Case) -> Place:
    return (
        *(case.model, case.form, case.backend, case.precision, case.device),
        *(case.resolution, case.input, case.threads, *case.allocation),
    )


def _line(made: Evaluation, timed: Mapping[str, dict[Place, Row]]) -> dict[str, str]:
    case, same = made.case, evaluations.agreement(made)
    rows = {label: known.get(_place(case)) for label, known in timed.items()}
    cost = next((row.cost for row in rows.values() if row and row.cost), Cost())
    of_five = evaluations.top5(made)
    return {
        "Model": markdown(naming.title(case, with_size=False)),
        "Params (M)": significant(in_unit(MEGA, cost.params), 4),
        "MACs (G)": significant(in_unit(GIGA, cost.macs)),
        **{f"{markdown(label)}: Latency (ms)": _ms(row) for label, row in rows.items()},
        "Top-1 (%)": _percent(evaluations.top1(made)),
        "Top-5 (%)": _percent(of_five) if of_five else NOTHING,
        "As trained: same (%)": NOTHING if same is None else _percent(same, 2),
        "As trained: classes": NOTHING if made.found is None else str(made.found),
        "As trained: top-1 (%)": _before(made),
        "Error": NOTHING if made.error is None else f"{made.error:.0e}",
        **dict(_of_paper(made)),
        "Weights": made.weights_hash,
        "Calibrated on": markdown(made.calibration) or NOTHING,
    }


def _ms(row: Row | None) -> str:
    return f"{significant(milliseconds(row.typical_s))}{doubts.marks(row)}" if row else NOTHING


def _before(made: Evaluation) -> str:
    """The top-1 of the network as trained, in per cent."""
    before = made.top1_before
    return NOTHING if before is None else f"{100 * before / made.images:.1f}"


def _percent(found: Estimate, digits: int = 1) -> str:
    point, low, high = (f"{100 * each:.{digits}f}" for each in found)
    return f"{point} ({low} to {high})"


def _of_paper(made: Evaluation) -> Iterator[tuple[str, str]]:
    """The paper's accuracies of the same architecture, for each of its data sets."""
    base = naming.code_of(made.case)
    known = {
        each.dataset: each.top1
        for size in (224, 64)
        for each in accuracy.of(base, size)
        if each.source == "paper" and base in zoo.ZOO
    }
    for dataset, name in DATASETS.items():
        top1 = known.get(dataset)
        yield f"{name} Top-1 (%), paper", NOTHING if top1 is None else f"{top1:.1f}"


def _without_empty(lines: pd.DataFrame) -> pd.DataFrame:
    """`lines` without the columns that are empty in every row."""
    return lines.drop(columns=[name for name in lines if (lines[name] == NOTHING).all()])


def _trainings(made: Sequence[Evaluation]) -> Iterator[dict[str, str]]:
    """A line for each network with several weights: the mean of its accuracies."""
    for several in evaluations.of_trainings(made):
        case = several[0].case
        values = [evaluations.top1(each).point for each in several]
        mean = mean_interval(values)
        plain = msgspec.structs.replace(case, model=naming.code_of(case), label="")
        yield {
            "Model": markdown(naming.title(plain, with_size=False)),
            "Trainings": str(len(values)),
            "Top-1 (%), mean": _percent(mean) if mean else NOTHING,
            "from": f"{100 * min(values):.1f}",
            "to": f"{100 * max(values):.1f}",
        }
