"""`bench replay`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bench import devices
from bench.cli.choice import Choice, command
from bench.cli.completion import recorded_cases
from bench.cli.console import progress_console, say, tell_json
from bench.cli.measure import measure
from bench.cli.messages import failure_line
from bench.cli.options import (
    DEFAULT_OUT,
    as_folder,
    json_option,
    out_option,
    percentage,
    wait_option,
    with_options,
)
from bench.cli.sweep import Sweep, locked, sweep_of
from bench.errors import CASE_FAILED, NOT_JUDGED, UsageError
from bench.harness import grid
from bench.harness import suite as suites
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.models.naming import selector

if TYPE_CHECKING:
    from bench.analysis.recorded import Recorded
    from bench.analysis.replay import Replay, Side
    from bench.records import Case

CODES = {"REPRODUCED": 0, "DIFFERENT": CASE_FAILED, "CANNOT BE TOLD": NOT_JUDGED}


@dataclasses.dataclass(frozen=True)
class ReplayOptions:
    """The arguments and flags of `bench replay`."""

    selector: Annotated[
        str,
        typer.Argument(
            metavar="ID|MODEL",
            help="One case: a case_id, its first letters, or a name as for `bench explain`.",
            autocompletion=recorded_cases,
        ),
    ]
    folder: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="The folder with the stored result.", parser=as_folder
        ),
    ] = DEFAULT_OUT
    out: Annotated[Path, out_option] = Path("replays")
    margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="A smaller difference counts as reproduced.")
    ] = "5%"
    wait: Annotated[bool, wait_option] = False
    as_json: Annotated[bool, json_option] = False


@with_options(ReplayOptions)
def replay(options: ReplayOptions) -> int:
    """Measure a stored case again with its settings, and say whether it is reproduced here.

    If it is not, say which difference explains most. The exit code is 1 for DIFFERENT, and 4 where
    it cannot be told.
    """
    from bench.analysis.recorded import latest
    from bench.analysis.replay import judge

    margin = percentage("--margin", options.margin)
    if options.out.resolve() == options.folder.resolve():
        raise UsageError(
            f"{options.out} holds the stored result, which the new one would replace",
            "Give another folder: --out replays",
        )
    recorded, labelled = _selected(options)
    case = msgspec.structs.replace(labelled, label="")
    stored = _side(recorded, case)
    console = progress_console(to_stderr=options.as_json)
    sweep = sweep_of(_choice(case), options.out, console, retry_failed=True)
    plan = suites.plan_for(stored.rounds[0].preset, suites.Suite(), len(stored.rounds), None)
    with locked(sweep, wait=options.wait) as sweep:
        sweep = sweep._replace(again=_is_done(sweep, case))
        failures = measure(sweep, plan, "Replaying one case")
    for failure in failures:
        say(console, failure_line(failure))
    if failures:
        return CASE_FAILED
    again = next(each for each in latest(options.out) if each.environment.chip == sweep.chip)
    result = judge(stored, _side(again, case), margin)
    _show(result, options)
    return CODES[result.finding]


def _selected(options: ReplayOptions) -> tuple[Recorded, Case]:
    """Return the case that the selector names, in the tight loop if it names no scenario.

    Raises UsageError for none, and for several.
    """
    from bench.analysis.recorded import latest, no_such_case

    everything = latest(options.folder)
    found = [(each, case) for each in everything for case in each.matching(options.selector)]
    if not found:
        raise no_such_case(options.selector, options.folder, everything)
    found = [(each, case) for each, case in found if case.is_tight] or found
    if len({case.case_id for _, case in found}) > 1:
        named = ", ".join(f"{case.case_id} {selector(case, batch=True)}" for _, case in found[:8])
        raise UsageError(
            f"{options.selector} names {len(found)} cases", f"Name one by its id: {named}"
        )
    if len(found) > 1:
        slugs = ", ".join(each.environment.chip.slug for each, _ in found)
        raise UsageError(
            f"{options.selector} is on record of several chips: {slugs}",
            f"Name the folder of one: --in {options.folder / found[0][0].environment.chip.slug}",
        )
    return found[0]


def _is_done(sweep: Sweep, case: Case) -> bool:
    """Return whether the rounds of an earlier replay are complete, so that this one is another.

    If they are not, an interrupted replay goes on.
    """
    rounds, failure = sweep.store.history(case, sweep.environment.environment_id)
    return bool(rounds) and failure is None and rounds[-1].stopped_by != "round"


def _side(recorded: Recorded, case: Case) -> Side:
    """Return the rounds of a case with their verdict.

    Raises UsageError if it failed or was measured in too few processes.
    """
    from bench.analysis.replay import Side
    from bench.analysis.stats import FEWEST_PROCESSES

    history = recorded.history(case)
    if history.failure or not history.rounds:
        raise UsageError(
            f"{selector(case)} has no result to reproduce: its last attempt failed",
            "Name a case that was measured.",
        )
    if len(history.rounds) < FEWEST_PROCESSES:
        raise UsageError(
            f"{selector(case)} was measured in fewer than {FEWEST_PROCESSES} processes, so nothing "
            "can be told of it",
            f"Measure it there with --rounds {FEWEST_PROCESSES} or more.",
        )
    return Side(recorded.environment, history.rounds, recorded.verdict(case))


def _choice(case: Case) -> Choice:
    """Return the choice of this case on this machine. Raises BenchError if it cannot run here."""
    from bench.harness import remeasure

    driver, chip = devices.select(case.device)
    grid.check_settings({key: [getattr(case, key)] for key in grid.CHECKS}, chip)
    sources, reasons = remeasure.found_again([case])
    if reasons:
        raise UsageError("; ".join(reasons.values()), "Check out the version that was measured.")
    environment = describe(driver, chip, runner.new_run_id(), command())
    return Choice(suites.Suite(), driver, environment, [case], sources)


def _show(result: Replay, options: ReplayOptions) -> None:
    from bench.analysis.replay import sentence

    if options.as_json:
        tell_json(result, indent=2)
        return
    console = progress_console(to_stderr=False)
    say(console, sentence(result))
    for each in result.differences:
        about = f" (alone {each.factor:.2f} times the latency)" if each.factor else ""
        say(console, f"  {each.kind}: {each.text}{about}")
