"""`bench eval`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bench.analysis import evaluations
from bench.analysis.stats import Estimate
from bench.cli import completion, interrupts
from bench.cli.choice import Choice, choose
from bench.cli.console import progress_console, say, tell_json
from bench.cli.messages import failure_line
from bench.cli.options import (
    DEFAULT_OUT,
    Options,
    backend_option,
    device_option,
    input_option,
    json_option,
    label_option,
    out_option,
    precision_option,
    resolution_option,
    threads_option,
    wait_option,
    weights_option,
    with_options,
)
from bench.cli.sweep import Sweep, case_count, conclude, locked, start, sweep_of
from bench.devices.precision import is_quantised
from bench.errors import UsageError, check_at_most
from bench.harness.images import provenance, sets
from bench.harness.images.provenance import Provenance
from bench.harness.images.sets import MOST_WORKERS
from bench.harness.input_shape import shape_of
from bench.harness.photos import check_readable, digest_of, images_in
from bench.harness.protocol.messages import Evaluate
from bench.harness.scheduler import evaluator
from bench.harness.scheduler.evaluator import DataSet, Listener
from bench.models import forms
from bench.models.naming import RANDOM, selector, weights_of
from bench.models.user.fit import RGB
from bench.paper import accuracy
from bench.records import Case, Evaluation, Failure
from bench.text import printable, some_of

HELP_DATA = (
    "A folder or zip with val/CLASS/... (or test/), or with CLASS/..., or a folder with "
    "torchvision's CIFAR files."
)


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """The flags of `bench eval`."""

    models: Annotated[
        str,
        typer.Option(
            metavar="A,B@FORM",
            help="Networks with their weights: resnet50+weights.pth, net.py:net+weights.pt@rrep. "
            "A name without @FORM means all forms.",
            autocompletion=completion.last_of_list(completion.models),
            show_default=False,
        ),
    ]
    data: Annotated[Path, typer.Option(metavar="PATH", help=HELP_DATA, show_default=False)]
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What tables call the data: imagenet1k, imagewoof, cifar100, or your own name.  "
            "[default: the name of the folder]",
        ),
    ] = None
    weights: Annotated[Path | None, weights_option] = None
    label: Annotated[list[str] | None, label_option] = None
    backend: Annotated[str | None, backend_option] = None
    precision: Annotated[str | None, precision_option] = None
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Photographs on which --precision int8 finds the ranges of values.  "
            "[default: synthetic images]",
        ),
    ] = None
    batch: Annotated[int, typer.Option(metavar="N", help="Images per call.")] = 64
    resolution: Annotated[int | None, resolution_option] = None
    input: Annotated[str | None, input_option] = None
    device: Annotated[str, device_option] = "cpu"
    threads: Annotated[int | None, threads_option] = None
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that read images.")] = 1
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read.")
    ] = False
    out: Annotated[Path, out_option] = DEFAULT_OUT
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Evaluate cases that failed before again.")
    ] = False
    again: Annotated[
        bool, typer.Option("--again", help="Evaluate all cases anew, also those on record.")
    ] = False
    wait: Annotated[bool, wait_option] = False
    as_json: Annotated[bool, json_option] = False


@with_options(EvalOptions)
def evaluate(options: EvalOptions) -> int:
    """Measure the accuracy of networks, and whether their forms agree image by image."""
    console = progress_console(to_stderr=options.as_json)
    _check(options)
    found = sets.find(options.data, trains=False)
    choice = choose(_as_options(options), console, all_forms=True)
    _check_cases(choice)
    known = _provenances(choice)
    for model, each in known.items():
        _check_provenance(model, each, found.classes)
    data = DataSet(
        name=_name_of(options),
        images=_wanted(options, found, found.held_out),
        calibrate="" if options.calibrate is None else str(options.calibrate.absolute()),
        calibration_hash=_calibration_hash(options, choice.cases),
        crop_shares={model: each.crop_share for model, each in known.items()},
    )
    sweep = sweep_of(
        choice, options.out, console, retry_failed=options.retry_failed, again=options.again
    )
    with locked(sweep, wait=options.wait) as sweep:
        for note in _notes(choice, known, found.ignored):
            say(console, note)
        results = _evaluate(sweep, _with_readable(options, sweep, data, found))
    failures = [each for each in results if isinstance(each, Failure)]
    exit_code = conclude(sweep, failures, options.out)
    if options.as_json:
        tell_json(results)
    return exit_code


def _as_options(options: EvalOptions) -> Options:
    """The same flags for the choice of cases."""
    resolution = None if options.resolution is None else str(options.resolution)
    return Options(
        device=options.device,
        models=options.models,
        weights=options.weights,
        label=options.label,
        backend=options.backend,
        precision=options.precision,
        batch=str(options.batch),
        resolution=resolution,
        input=options.input,
        threads=options.threads,
        out=options.out,
        wait=options.wait,
    )


def _check(options: EvalOptions) -> None:
    """Raise UsageError for flags that are wrong by themselves."""
    check_at_most("workers", options.workers, MOST_WORKERS)
    if options.input is not None and shape_of(options.input).channels != RGB:
        raise UsageError(f"images have 3 channels, unlike --input {options.input}", "Use 3xHxW.")
    if options.dataset is not None and not accuracy.DATASET_NAME.fullmatch(options.dataset):
        raise UsageError(
            f"--dataset {options.dataset!r} is not lower-case letters and digits",
            "For example: --dataset imagewoof",
        )


def _name_of(options: EvalOptions) -> str:
    """The name of the data set: that of --dataset, or the letters and digits of the path.

    A folder val/ or test/ has the name of the folder around it.
    """
    path = options.data.resolve()
    stem = path.stem if path.suffix == ".zip" else path.name
    stem = path.parent.name if stem in sets.HELD_OUT else stem
    return options.dataset or "".join(accuracy.DATASET_NAME.findall(stem.lower())) or "images"


def _provenances(choice: Choice) -> dict[str, Provenance]:
    """What `bench train` wrote beside weights, by the name of the model."""
    files = {model: source.weights for model, source in choice.sources.items() if source.weights}
    found = {model: provenance.of(Path(file)) for model, file in files.items()}
    return {model: each for model, each in found.items() if each is not None}


def _check_provenance(model: str, known: Provenance, classes: Sequence[str]) -> None:
    """Raise UsageError for weights of other classes, or of a form that is not built."""
    if not forms.find(known.form).is_built:
        raise UsageError(
            f"{model} has weights that were trained in the form {known.form}",
            "Write a function that builds the network and returns it fused, and name that.",
        )
    names = provenance.names(classes)
    if known.classes != names:
        other = sorted(set(known.classes) ^ set(names)) or ["the same ones, in another order"]
        raise UsageError(
            f"{model} was trained on {len(known.classes)} classes, and the images have "
            f"{len(classes)}: {some_of(other)} differ",
            f"Give images of its classes, which {provenance.NAME} beside the weights names.",
        )


def _notes(choice: Choice, known: Mapping[str, Provenance], ignored: int) -> Iterator[str]:
    """Sentences on what the user may have overlooked."""
    if ignored:
        yield f"{ignored} other files in the data are not used"
    for case in choice.cases:
        each = known.get(case.model)
        if each and not case.input and each.resolution != case.resolution:
            yield (
                f"{selector(case)}: trained at {each.resolution} pixels, evaluated at "
                f"{case.resolution}; --resolution {each.resolution} evaluates it as trained"
            )


def _check_cases(choice: Choice) -> None:
    """Raise UsageError for a device that runs no network, and for random weights."""
    if not choice.driver.runs_torch:
        raise UsageError(
            f"the {choice.driver.name} device classifies no images", "Choose another --device."
        )
    random = list(dict.fromkeys(case.model for case in choice.cases if weights_of(case) == RANDOM))
    if random:
        raise UsageError(
            f"{some_of(random)} would have random weights",
            f"Name a file of weights: --models {random[0]}+weights.pth",
        )


def _calibration_hash(options: EvalOptions, cases: Sequence[Case]) -> str:
    """The hash of the photographs to calibrate on, "" for none. Raises UsageError."""
    if options.calibrate is None:
        return ""
    if not all(is_quantised(case.precision) for case in cases):
        raise UsageError("--calibrate has no effect in floating point", "Use --precision int8.")
    photos = images_in(options.calibrate)
    check_readable(photos)
    return digest_of(options.calibrate, photos)


def _with_readable(options: EvalOptions, sweep: Sweep, data: DataSet, found: sets.Data) -> DataSet:
    """The same data without images that cannot be read, where they are to be left out.

    The images are not looked at where all cases are on record. Raises UsageError.
    """
    if not (options.skip_unreadable or _lacking(sweep, data)):
        return data
    say(sweep.console, f"looking at {len(found.held_out)} images")
    readable = sets.readable(
        found,
        functools.partial(say, sweep.console),
        skips_unreadable=options.skip_unreadable,
        trains=False,
    )
    if readable.held_out is found.held_out:
        return data
    return data._replace(images=_wanted(options, found, readable.held_out))


def _wanted(options: EvalOptions, found: sets.Data, kept_images: sets.Images) -> Evaluate:
    """What a process needs to find the same images."""
    every = {found.held_out.name(place) for place in range(len(found.held_out))}
    kept = {kept_images.name(place) for place in range(len(kept_images))}
    return Evaluate(
        path=str(options.data.absolute()),
        images_hash=sets.digest_of(kept_images),
        images=len(kept_images),
        classes=len(found.classes),
        left_out=sorted(every - kept),
        workers=options.workers,
    )


def _evaluate(sweep: Sweep, data: DataSet) -> list[Evaluation | Failure]:
    """Evaluate what is not on record, and print a line for each case."""
    count, todo = data.images.images, _lacking(sweep, data)
    heading = f"Evaluating {case_count(sweep.cases)} on {count} images of {data.name}"
    start(sweep, heading, needs_device=bool(todo))
    with sweep.console.status("") as status:  # which prints nothing into a pipe

        def classified(case: Case, done: int) -> None:
            interrupts.check()
            status.update(Text(printable(f"{selector(case)}: {done} of {count} images")))

        listener = Listener(classified, lambda found: _tell(sweep, found))
        return evaluator.evaluate(
            sweep.cases,
            todo,
            data,
            sweep.store,
            sweep.environment,
            sweep.choice.sources,
            listener,
        )


def _lacking(sweep: Sweep, data: DataSet) -> list[Case]:
    """The cases that this command evaluates."""
    return evaluator.lacking(
        sweep.cases,
        data,
        sweep.store,
        sweep.environment,
        again=sweep.again,
        retry_failed=sweep.retry_failed,
    )


def _tell(sweep: Sweep, found: Evaluation | Failure) -> None:
    say(sweep.console, line(found))
    if isinstance(found, Evaluation):
        for warning in found.warnings:
            say(sweep.console, f"warning: {warning}")


def line(found: Evaluation | Failure) -> str:
    """A line for a case: its accuracy, and its agreement with the form as trained."""
    if isinstance(found, Failure):
        return failure_line(found)
    words = [f"top-1 {percent(evaluations.top1(found))}"]
    if of_five := evaluations.top5(found):
        words.append(f"top-5 {percent(of_five)}")
    if same := evaluations.agreement(found):
        words.append(
            f"the same class as trained for {found.same} of {found.images} images, "
            f"{percent(same)}, in {found.found} classes; largest error of a logit "
            f"{found.error or 0:.1e}"
        )
    return f"{selector(found.case)}: {'; '.join(words)}"


def percent(found: Estimate) -> str:
    """A share with its 95 % interval: `81.2 % (80.1 to 82.3)`."""
    return f"{100 * found.point:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
