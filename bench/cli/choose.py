"""`bench choose`."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import completion
from bench.cli.console import code_of_unreadable, complain, tell, tell_json
from bench.cli.options import DEFAULT_OUT, as_folder, with_options
from bench.devices import ALIASES
from bench.errors import NOT_JUDGED, UsageError, check_positive
from bench.models import naming
from bench.models.naming import without_hash
from bench.paper.accuracy import IMAGENET
from bench.text import some_of

if TYPE_CHECKING:
    from bench.analysis.choose.budget import Budget
    from bench.analysis.choose.decision import Decision
    from bench.analysis.recorded import Recorded
    from bench.analysis.rows import Row

SETTINGS_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class ChooseOptions:
    """The flags of `bench choose`."""

    folder: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="The folder that `bench run` wrote into.", parser=as_folder
        ),
    ] = DEFAULT_OUT
    device: Annotated[
        str | None,
        typer.Option(
            help="The device, if there are records of several: cpu, cuda, orin, or its folder.",
            autocompletion=completion.devices,
        ),
    ] = None
    max_latency: Annotated[
        list[str] | None,
        typer.Option(
            "--max-latency",
            metavar="TIME[:P]",
            help="Longest latency: 20ms; of 95 % of the calls: 30ms:p95 (p90, p95, p99). Repeat it "
            "for both.",
        ),
    ] = None
    min_top1: Annotated[
        str | None, typer.Option("--min-top1", metavar="PERCENT", help="Lowest top-1 accuracy: 80.")
    ] = None
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory", metavar="BYTES", help="Largest peak memory of the network: 300MB."
        ),
    ] = None
    max_power: Annotated[
        str | None,
        typer.Option("--max-power", metavar="WATTS", help="Largest mean power of the chip: 15W."),
    ] = None
    max_load: Annotated[
        str | None,
        typer.Option(
            "--max-load",
            metavar="TIME",
            help="Longest time to load and to answer first, once torch is imported: 2s.",
        ),
    ] = None
    batch: Annotated[int, typer.Option(metavar="N", help="Images per call.")] = 1
    size: Annotated[
        str,
        typer.Option(
            "--resolution", metavar="N|CxHxW", help="Pixels each way, or the shape of one image."
        ),
    ] = "224"
    objective: Annotated[
        str, typer.Option(metavar="latency|top1|energy", help="What orders the networks that fit.")
    ] = "latency"
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The data set of the top-1.")] = (
        IMAGENET
    )
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write choose.md and choose.json into this folder.",
            parser=as_folder,
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False


@with_options(ChooseOptions)
def choose(options: ChooseOptions) -> int:
    """Say which networks on record fit a budget, in order, and why the others do not.

    The exit code is 4 where none of them is known to fit, and measuring them further may tell.
    """
    check_positive("batch", options.batch)
    budget = _budget(options)
    with _without_garbage():
        return _answered(options, budget)


@contextlib.contextmanager
def _without_garbage() -> Iterator[None]:
    """Look for no garbage: records live until the answer is printed, and it took a fifth of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _answered(options: ChooseOptions, budget: Budget) -> int:
    """Print the decision and return the exit code."""
    from bench.analysis.choose import pages
    from bench.analysis.choose.decision import decide
    from bench.analysis.recorded import latest, unreadable_in

    everything = latest(options.folder)
    recorded = _of_device(everything, options.device, options.folder)
    for warning in [*recorded.warnings, *_earlier(recorded)]:
        complain(f"warning: {warning}")
    decision = decide(_rows(recorded, budget, options.folder), budget)
    chip = recorded.environment.chip
    made = pages.Page(decision, chip.name, chip.device, str(options.folder))
    if options.to is not None:
        pages.write(made, options.to)
    if options.as_json:
        tell_json(pages.to_builtins(made), indent=2)
    else:
        for line in pages.to_text(made).splitlines():
            tell(line)
    return code_of_unreadable(unreadable_in(everything)) or _code(decision)


def _budget(options: ChooseOptions) -> Budget:
    """Return the budget that the flags give. Raises UsageError for a wrong one."""
    from bench.analysis.choose import budget

    given = [("--max-latency", text) for text in options.max_latency or []]
    flags = {
        "--min-top1": options.min_top1,
        "--max-memory": options.max_memory,
        "--max-power": options.max_power,
        "--max-load": options.max_load,
    }
    given += [(flag, text) for flag, text in flags.items() if text is not None]
    return budget.Budget(
        limits=budget.limits(given),
        objective=budget.objective(options.objective),
        batch=options.batch,
        size=options.size,
        dataset=options.dataset,
    )


def _of_device(everything: Sequence[Recorded], name: str | None, folder: Path) -> Recorded:
    """Return the records of the device with this name, or of the only one. Raises UsageError."""
    found = [each for each in everything if name is None or _is_called(each, name)]
    known = ", ".join(
        f"{e.environment.chip.slug} ({e.environment.chip.device})" for e in everything
    )
    if not found:
        raise UsageError(f"no records of {name} in {folder}", f"On record: {known}.")
    if len(found) > 1:
        raise UsageError(
            f"{folder} has records of several devices: {known}",
            f"Name one, for example: --device {found[0].environment.chip.slug}",
        )
    return found[0]


def _is_called(recorded: Recorded, name: str) -> bool:
    """Whether `name` is the device, the folder of the chip, or an alias that names the chip."""
    chip = recorded.environment.chip
    if name in (chip.device, chip.slug):
        return True
    of_alias = ALIASES.get(name) == chip.device
    return of_alias and re.search(rf"\b{name}\b", chip.name.lower()) is not None


def _rows(recorded: Recorded, budget: Budget, folder: Path) -> list[Row]:
    """Return the rows of the budget's setting. Raises UsageError if there is none.

    Of several versions of a user's file, the newest counts.
    """
    from bench.analysis import rows
    from bench.analysis.choose.decision import wanted

    newest = {without_hash(record.case.model): record.case.model for record in recorded.records}
    found = rows.unranked(
        [*recorded.context, *recorded.records],
        wanted=lambda case: wanted(case, budget) and case.model in newest.values(),
    )
    if found:
        return found
    known = dict.fromkeys(
        f"--batch {case.batch} --resolution {case.input or case.resolution}"
        for case in recorded.cases
        if case.is_tight
    )
    listed = "; ".join(list(known)[:SETTINGS_SHOWN]) or "no inferences in a tight loop"
    raise UsageError(
        f"nothing in {folder} was measured at batch {budget.batch} and --resolution {budget.size}",
        f"On record: {listed}.",
    )


def _code(decision: Decision) -> int:
    """Return 4 where further measurements may find that a network on record fits, and none does."""
    unmeasured = [
        each for each in decision.unmeasured if not each.candidate.decisive.figure.is_never
    ]
    return NOT_JUDGED if not decision.fits and (decision.open or unmeasured) else 0


def _earlier(recorded: Recorded) -> list[str]:
    """Return a sentence on the networks that only an earlier environment has, if there are any."""
    names = list(dict.fromkeys(naming.name(case) for case in recorded.earlier))
    if not names:
        return []
    return [f"measured in an earlier environment alone, and left out: {some_of(names)}"]
