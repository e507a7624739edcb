"""`bench export`."""

from __future__ import annotations

import dataclasses
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from bench.analysis.stats import share
from bench.backends import BACKENDS, exported_by
from bench.cli import completion, interrupts
from bench.cli.choice import Choice, choose
from bench.cli.console import complain, tell, tell_json
from bench.cli.options import (
    Options,
    batch_option,
    input_option,
    resolution_option,
    weights_option,
    with_options,
)
from bench.devices.precision import is_quantised
from bench.errors import CASE_FAILED, INTERRUPTED, UsageError, unknown
from bench.harness.input_shape import shape_of
from bench.harness.networks import TUNED
from bench.harness.photos import check_readable, images_in
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import CaseFacts, Export, Job
from bench.harness.scheduler import exporter
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.environment import runtime_of
from bench.harness.scheduler.templates import Templates
from bench.models.naming import RANDOM, selector, weights_of
from bench.models.user.fit import RGB
from bench.records import Agreement, Case
from bench.text import MIB, without_paths

SYNTHETIC = "Leave out --calibrate: the ranges are then found on synthetic images."
FEWEST_CLASSES = 20  # in fewer, agreement says little: a network that answers one class agrees
OTHER_FILE = "Name a file in another folder."
ONE_FORM = "Name one network in one form: bench export repnext_u3_t@srep --to onnx --out net.onnx"


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The flags of `bench export`."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL@FORM",
            help="A network in one form: a name from `bench list models`, or your own "
            "net.py:factory, as in `bench run`.",
            autocompletion=completion.models,
            show_default=False,
        ),
    ]
    to: Annotated[
        str,
        typer.Option(
            metavar="|".join(exported_by()),
            help="The kind of file.",
            autocompletion=lambda: list(exported_by()),
        ),
    ]
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write, as net.onnx.")]
    precision: Annotated[
        str, typer.Option(metavar="P", help="The precision: see `bench list precisions`.")
    ] = "fp32"
    batch: Annotated[int, batch_option] = 1
    resolution: Annotated[int | None, resolution_option] = None
    input: Annotated[str | None, input_option] = None
    weights: Annotated[Path | None, weights_option] = None
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Photographs on which --precision int8 finds the ranges of values, and on which "
            "the classes are compared with those in float32.  [default: synthetic images]",
        ),
    ] = None
    device: Annotated[str, typer.Option(help="The device on which the file is checked.")] = "cpu"
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False


@with_options(ExportOptions)
def export(options: ExportOptions) -> int:
    """Write a network as a file for a runtime, checked against the network as trained."""
    return write(options)


def write(options: ExportOptions) -> int:
    """Do what `bench export` does; return its exit code."""
    if options.to not in exported_by():
        raise unknown("kind of file", options.to, exported_by())
    choice = _choose(options)
    case = choice.cases[0]
    images = _photos(options, case)
    files = _files(options)
    interrupts.heed()
    partial = str(options.out.absolute().parent / f".{secrets.token_hex(8)}.partial")
    try:
        facts = _export(choice, partial, images)
        interrupts.check()
        _rename({partial + end: path for end, path in files.items()})
    except OSError as error:
        raise UsageError(f"cannot write {options.out}: {error.strerror}", OTHER_FILE) from error
    except (CaseError, TemplateDiedError) as error:
        complain(f"error: {selector(case)} was not exported: {_why(error)}")
        return CASE_FAILED
    except KeyboardInterrupt:
        complain("interrupted: no file was written")
        return INTERRUPTED
    finally:
        for end in files:
            Path(partial + end).unlink(missing_ok=True)
    _tell(options, case, facts, list(files.values()))
    return 0


def _choose(options: ExportOptions) -> Choice:
    """Return the choice of one case. Raises UsageError if the name gives more."""
    if TUNED in options.model:
        raise UsageError(f"{options.model} names a recipe", "Use bench tune MODEL --export NAME.")
    choice = choose(
        Options(
            device=options.device,
            models=options.model,
            weights=options.weights,
            backend=exported_by()[options.to],
            precision=options.precision,
            batch=str(options.batch),
            resolution=None if options.resolution is None else str(options.resolution),
            input=options.input,
        ),
        None,
    )
    if len(choice.cases) != 1:
        names = ", ".join(case.name for case in choice.cases)
        raise UsageError(f"{options.model} names {len(choice.cases)} networks: {names}", ONE_FORM)
    if not choice.driver.runs_torch:
        raise UsageError(
            f"the {choice.driver.name} device has no networks to export", "Choose another --device."
        )
    return choice


def _photos(options: ExportOptions, case: Case) -> str:
    """Return the path of the photographs to calibrate on, "" for none. Raises UsageError."""
    if options.calibrate is None:
        return ""
    if not is_quantised(case.precision):
        raise UsageError(f"--calibrate has no effect in {case.precision}", "Add --precision int8.")
    if case.input and shape_of(case.input).channels != RGB:
        raise UsageError(f"photographs have 3 channels, unlike --input {case.input}", SYNTHETIC)
    check_readable(images_in(options.calibrate))
    return str(options.calibrate.absolute())


def _files(options: ExportOptions) -> dict[str, Path]:
    """Map the ends of the names of the files to write to their paths, which are checked."""
    _check_file(options.out, may_replace=options.force)
    first, *further = BACKENDS[exported_by()[options.to]].file_ends
    if further and options.out.suffix != first:
        raise UsageError(
            f"--out {options.out} does not end in {first}; a file in {further[0]} is written, too",
            f"Name the first one: --out {options.out.with_suffix(first)}",
        )
    files = {end: options.out.with_suffix(end) for end in further}
    for path in files.values():
        _check_file(path, may_replace=options.force)
    return {first: options.out, **files}


def _rename(files: dict[str, Path]) -> None:
    """Give files their names. The first one refers to the others; old ones are never beside it.

    Signals are ignored from here to the end of the process: the files are written.
    """
    interrupts.ignore()
    if len(files) > 1:
        next(iter(files.values())).unlink(missing_ok=True)
    for partial, path in reversed(files.items()):
        os.replace(partial, path)


def _check_file(path: Path, *, may_replace: bool) -> None:
    """Raise UsageError before the network is exported, if the file cannot be written."""
    if not path.name or path.is_dir():
        raise UsageError(f"--out {path} is a folder", "Name a file: --out net.onnx")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", "Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} is not writable", "Name another folder.")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is no regular file", OTHER_FILE)
    if path.exists() and not may_replace:
        raise UsageError(f"{path} exists already", "Add --force to replace it.")


def _export(choice: Choice, path: str, images: str) -> CaseFacts:
    case = choice.cases[0]
    known = {name: version for name, version in choice.environment.versions.items() if version}
    versions = {name: known[name] for name in ("bench", "torch", "timm") if name in known}
    job = Job(case, 1, PRESETS["quick"], None, choice.sources.get(case.model))
    with Templates([case]) as templates:
        wanted = Export(path, versions | runtime_of(case), images)
        return exporter.export(job, wanted, templates.of(case))


def _why(error: Exception) -> str:
    if isinstance(error, CaseError):
        text = f"{error.error}, at {error.stage}: {error.message}"
        return without_paths(" ".join(text.split()))
    return "another program killed the process"


def _tell(options: ExportOptions, case: Case, facts: CaseFacts, files: list[Path]) -> None:
    """Print what the file is, and how it was checked."""
    made, check, form = facts.artifact, facts.check, facts.passport
    assert made is not None
    if options.as_json:
        found = {"params": facts.cost.params, "artifact": made, "check": check, "passport": form}
        tell_json({"files": [str(path) for path in files], "case": case, **found})
        return
    written = ", ".join(f"{path}, {path.stat().st_size / MIB:.1f} MiB" for path in files)
    tell(f"{selector(case)}, batch {case.batch}: {written}")
    for kind, values in (("input", made.inputs), ("output", made.outputs)):
        for name, shape in values.items():
            tell(f"{kind} {name}: {shape}")
    if form and form.largest_relative_error is not None:
        tell(f"form against the network as trained: error {form.largest_relative_error:.1e}")
    tell(
        f"file against {check.against}: error {check.largest_relative_error:.1e}, "
        f"tolerated {check.tolerance:.1e}, of the difference between two images"
    )
    opset = f", opset {made.opset}" if made.opset else ""
    tell(f"made by {made.exporter}{opset}, with a passport")
    if made.quantised is not None:
        tell(f"8-bit integers: ranges from {made.quantised.calibration}")
        tell(agreement_text(made.quantised.agreement, weights_of(case)))
    if weights_of(case) == RANDOM:
        tell("The weights are random: give yours with --weights.")


def agreement_text(found: Agreement | None, weights: str) -> str:
    """Say how often the class is that in float32, with Wilson's interval."""
    if weights == RANDOM:
        return "Nothing follows for the accuracy from random weights."
    if found is None:
        return "Nothing follows for the accuracy: name photographs with --calibrate."
    if found.classes < FEWEST_CLASSES:
        return (
            f"Nothing follows for the accuracy: in float32, the network finds {found.classes} "
            f"classes in {found.images} photographs, and {FEWEST_CLASSES} at least are needed."
        )
    same, low, high = share(found.same, found.images)
    return (
        f"the same class as in float32 for {found.same} of {found.images} photographs on which it "
        f"was not calibrated: {same:.1%} (95 % interval {low:.1%} to {high:.1%}), in "
        f"{found.classes} classes"
    )
