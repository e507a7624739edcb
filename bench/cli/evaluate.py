"""`bench eval`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
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
    as_folder,
    input_option,
    json_option,
    label_option,
    resolution_option,
    wait_option,
    weights_option,
    with_options,
)
from bench.cli.sweep import Sweep, case_count, conclude, locked, start, sweep_of
from bench.devices.precision import is_quantised
from bench.errors import UsageError
from bench.harness.grid import check_at_most
from bench.harness.images import sets
from bench.harness.images.sets import CLASSES, MOST_WORKERS
from bench.harness.photos import check_readable, images_in
from bench.harness.protocol.messages import Evaluate
from bench.harness.scheduler import evaluator
from bench.harness.scheduler.evaluator import DataSet, Listener, on_record
from bench.models.naming import RANDOM, selector, weights_of
from bench.models.user.names import split_weights
from bench.records import Case, Evaluation, Failure
from bench.text import printable, some_of

DATA_SET = re.compile("[a-z0-9]+")
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
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Backends: see `bench list backends`.  [default: eager]",
            autocompletion=completion.last_of_list(completion.backends),
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Precisions: see `bench list precisions`.  [default: fp32]",
            autocompletion=completion.last_of_list(completion.precisions),
        ),
    ] = None
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
    device: Annotated[
        str,
        typer.Option(
            help="The device: see `bench list devices`.", autocompletion=completion.devices
        ),
    ] = "cpu"
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="CPU threads.  [default: all CPUs that this process may use]"
        ),
    ] = None
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that read images.")] = 1
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read.")
    ] = False
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Results are written to DIR/<chip>/results.jsonl.",
            parser=as_folder,
        ),
    ] = DEFAULT_OUT
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
    name = _name_of(options)
    found = sets.find(options.data, trains=False)
    _check_classes(options.models, options.weights, found.classes)
    choice = choose(_as_options(options), console, all_forms=True)
    _check_cases(choice)
    photos = _photos(options, choice.cases)

    def tell(line: str) -> None:
        say(console, line)

    readable = sets.readable(
        found, tell, skips_unreadable=options.skip_unreadable, trains=False
    ).held_out
    data = DataSet(name, _wanted(options, found, readable), photos)
    sweep = sweep_of(
        choice, options.out, console, retry_failed=options.retry_failed, again=options.again
    )
    with locked(sweep, wait=options.wait) as sweep:
        results = _evaluate(sweep, data, len(readable))
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
    if options.dataset is not None and not DATA_SET.fullmatch(options.dataset):
        raise UsageError(
            f"--dataset {options.dataset!r} is not lower-case letters and digits",
            "For example: --dataset imagewoof",
        )


def _name_of(options: EvalOptions) -> str:
    """The name of the data set: that of --dataset, or the letters and digits of the path."""
    path = options.data.resolve()
    stem = path.stem if path.suffix == ".zip" else path.name
    return options.dataset or "".join(DATA_SET.findall(stem.lower())) or "images"


def _check_classes(models: str, weights: Path | None, classes: Sequence[str]) -> None:
    """Raise UsageError if weights of `bench train` were trained on other classes.

    `bench train` writes the names of the classes beside its weights.
    """
    files = [split_weights(entry.partition("@")[0])[1] for entry in models.split(",")]
    for file in filter(None, [weights, *files]):
        try:
            known = (file.parent / CLASSES).read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            continue
        if known != list(classes):
            other = sorted(set(known) ^ set(classes)) or ["the same ones, in another order"]
            raise UsageError(
                f"{file} was trained on {len(known)} classes, and the images have {len(classes)}: "
                f"{some_of(other)} differ",
                f"Give images of the classes in {file.parent / CLASSES}.",
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


def _photos(options: EvalOptions, cases: Sequence[Case]) -> str:
    """The path of the photographs to calibrate on, "" for none. Raises UsageError."""
    if options.calibrate is None:
        return ""
    if not all(is_quantised(case.precision) for case in cases):
        raise UsageError("--calibrate has no effect in floating point", "Use --precision int8.")
    check_readable(images_in(options.calibrate))
    return str(options.calibrate.absolute())


def _wanted(options: EvalOptions, found: sets.Data, readable: sets.Images) -> Evaluate:
    """What a process needs to find the same images."""
    every = {found.held_out.name(place) for place in range(len(found.held_out))}
    kept = {readable.name(place) for place in range(len(readable))}
    return Evaluate(
        path=str(options.data.absolute()),
        images_hash=sets.digest_of(readable),
        classes=len(found.classes),
        left_out=sorted(every - kept),
        workers=options.workers,
    )


def _evaluate(sweep: Sweep, data: DataSet, count: int) -> list[Evaluation | Failure]:
    """Evaluate what is not on record, and print a line for each case."""
    todo = [
        case for case in sweep.cases if not on_record(sweep.store, sweep.environment, case, data)
    ]
    heading = f"Evaluating {case_count(sweep.cases)} on {count} images of {data.name}"
    start(sweep, heading, needs_device=bool(todo))
    with sweep.console.status("") as status:  # which prints nothing into a pipe

        def classified(case: Case, done: int) -> None:
            interrupts.check()
            status.update(Text(printable(f"{selector(case)}: {done} of {count} images")))

        return evaluator.evaluate(
            sweep.cases,
            data,
            sweep.store,
            sweep.environment,
            sweep.choice.sources,
            Listener(classified, lambda found: say(sweep.console, line(found))),
            again=sweep.again,
            retry_failed=sweep.retry_failed,
        )


def line(found: Evaluation | Failure) -> str:
    """A line for a case: its accuracy, and its agreement with the form as trained."""
    if isinstance(found, Failure):
        return failure_line(found)
    words = [f"top-1 {percent(evaluations.top1(found))}"]
    if of_five := evaluations.top5(found):
        words.append(f"top-5 {percent(of_five)}")
    if found.same is not None and found.error is not None:
        alike = "all" if found.same == found.images else f"{found.same} of"
        words.append(
            f"{alike} {found.images} images as in the form as trained, largest error of a logit "
            f"{found.error:.1e} of their range"
        )
    return f"{selector(found.case)}: {'; '.join(words)}"


def percent(found: Estimate) -> str:
    """A share with its 95 % interval: `81.2 % (80.1 to 82.3)`."""
    return f"{100 * found.point:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
