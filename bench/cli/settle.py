"""`bench settle`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bench import devices
from bench.cli import completion
from bench.cli.choice import Choice, command
from bench.cli.console import code_of_unreadable, progress_console, say, tell_json
from bench.cli.messages import failure_line
from bench.cli.options import (
    DEFAULT_OUT,
    as_folder,
    json_option,
    patience_option,
    percentage,
    preset_option,
    seconds_of,
    wait_option,
    with_options,
)
from bench.cli.sweep import conclude, locked, start, sweep_of
from bench.errors import CASE_FAILED, UnavailableError, UsageError
from bench.harness import grid
from bench.harness import suite as suites
from bench.models.naming import selector
from bench.text import duration

if TYPE_CHECKING:
    from bench.analysis.recorded import Recorded
    from bench.analysis.settle import Board
    from bench.cli.rounds import Rounds
    from bench.records import Case


@dataclasses.dataclass(frozen=True)
class SettleOptions:
    """The arguments and flags of `bench settle`."""

    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The folder that `bench run` wrote into.", parser=as_folder
        ),
    ] = DEFAULT_OUT
    duration: Annotated[
        str,
        typer.Option(
            "--for", metavar="TIME", help="Measure for at most this long: 90s, 45m, 1h30m."
        ),
    ] = "45m"
    margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="A smaller difference is a tie.")
    ] = "2%"
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question",
            metavar="'A < B'",
            help="Ask which of two cases is faster, too. A case is named as for `bench compare`. "
            "Repeat it for others.",
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            help="The device, if there are records of several here.",
            autocompletion=completion.devices,
        ),
    ] = None
    preset: Annotated[str, preset_option] = "quick"
    patience: Annotated[float, patience_option] = 0.0
    wait: Annotated[bool, wait_option] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what is open and what it would cost; measure nothing."),
    ] = False
    as_json: Annotated[bool, json_option] = False


class _Here(NamedTuple):
    """The device of this machine, and its records, whose cases have labels."""

    choice: Choice
    recorded: Recorded


@with_options(SettleOptions)
def settle(options: SettleOptions) -> int:
    """Measure what is on record further, until it is known which case is faster.

    The same command goes on where a stopped one ended.
    """
    from bench.cli.rounds import Rounds

    for_s, margin = seconds_of(options.duration), percentage("--margin", options.margin)
    plan = suites.plan_for(options.preset, suites.Suite(), None, None, options.patience)
    console = progress_console(to_stderr=options.as_json)
    here = _here(options.out, options.device)
    _check_settings(here)
    named = _named(options.question or [], here.recorded, options.out)
    sweep = sweep_of(here.choice, options.out, console, retry_failed=False)
    if options.dry_run:
        rounds = Rounds(sweep, named, margin)
        board = rounds.look()
        _check_board(options, for_s, board)
        _show(rounds, board, as_json=options.as_json)
        return code_of_unreadable(here.recorded.unreadable)
    with locked(sweep, wait=options.wait) as sweep:
        rounds = Rounds(sweep, named, margin)
        board = rounds.look()
        _check_board(options, for_s, board)
        start(sweep, f"Settling {len(board.answers)} questions", needs_device=bool(board.open))
        board = rounds.settle(plan, for_s)
    _show(rounds, board, as_json=options.as_json)
    for failure in rounds.failures:
        say(console, failure_line(failure))
    conclude(sweep, [], options.out)
    code = code_of_unreadable(here.recorded.unreadable)
    return code or (CASE_FAILED if rounds.failures else 0)


def _show(rounds: Rounds, board: Board, *, as_json: bool) -> None:
    from bench.cli import answers

    answers.show(rounds.console, board)
    if as_json:
        tell_json(answers.to_builtins(board))


def _check_board(options: SettleOptions, for_s: float, board: Board) -> None:
    """Raise UsageError if there is no question, or no round of an open one fits into `for_s`."""
    if not board.answers:
        raise UsageError(
            f"nothing to settle in {options.out}: no two cases were measured in one setting",
            "Measure two networks at least: bench run --models resnet50,convnext_t",
        )
    shortest_s = min((board.round_s(each.question.cases) for each in board.open), default=0.0)
    if shortest_s > for_s:
        raise UsageError(
            f"--for {options.duration} is too short: one round takes about {duration(shortest_s)}",
            "Give it several rounds: a question needs at least three, often ten.",
        )


def _here(out: Path, device: str | None) -> _Here:
    """Return the device of this machine that has records in `out`.

    Raises UsageError without records, if they are of another machine or environment, and if
    several devices have records and none is named.
    """
    from bench.analysis.recorded import latest

    wanted = devices.select(device)[0].name if device else None
    everything = [each for each in latest(out) if wanted in (None, each.environment.chip.device)]
    if not everything:
        raise UsageError(f"no records of {device} in {out}", "Omit --device, or measure it first.")
    found, strangers = [], []
    for recorded in everything:
        try:
            found.append(_Here(_choice(recorded), recorded))
        except (UsageError, UnavailableError) as error:
            strangers.append(error)
    if not found:
        raise UsageError("; ".join(error.message for error in strangers), strangers[0].remedy)
    if len(found) > 1:
        names = ", ".join(each.choice.driver.name for each in found)
        raise UsageError(f"{out} has records of several devices: {names}", "Name one: --device")
    return found[0]


def _check_settings(here: _Here) -> None:
    """Raise UsageError or UnavailableError if a case cannot be measured as it was.

    Its failure would otherwise take the place of the rounds on record.
    """
    cases = [case for case in here.recorded.cases if here.recorded.history(case).failure is None]
    used = {key: dict.fromkeys(getattr(case, key) for case in cases) for key in grid.CHECKS}
    grid.check_settings(used, here.recorded.environment.chip)
    from bench.harness.scheduler.environment import is_outdated_for

    for case in cases:
        if is_outdated_for(case, here.recorded.history(case)):
            raise UsageError(
                f"{selector(case)} was measured with other versions of its runtime",
                "Measure it here first, with bench run.",
            )


def _choice(recorded: Recorded) -> Choice:
    """Return the choice of all cases on record. Raises BenchError if another machine has them."""
    from bench.analysis.compare import differences
    from bench.harness.scheduler import runner
    from bench.harness.scheduler.environment import describe

    measured = recorded.environment
    driver, chip = devices.select(measured.chip.device)
    environment = describe(driver, chip, runner.new_run_id(), command())
    if chip.name != measured.chip.name:
        raise UsageError(
            f"the records are of {measured.chip.name}, and this machine is {chip.name}",
            "Settle them on that machine, or measure here into another folder first: bench run",
        )
    if environment.environment_id != measured.environment_id:
        changed = ", ".join(differences(measured, environment))
        raise UsageError(
            f"the records of {chip.name} are of another environment{changed and ': '}{changed}",
            "Rounds of two environments are not pooled: measure here first, with bench run.",
        )
    return Choice(suites.Suite(), driver, environment, recorded.cases, {})


def _named(texts: Sequence[str], recorded: Recorded, out: Path) -> list[tuple[Case, Case, str]]:
    """Return the pairs of cases that `A < B` asks about, in each setting, with the text.

    Raises UsageError for a text without two names, and for a case that is not on record.
    """
    from bench.analysis.compare import pairs_of
    from bench.analysis.recorded import no_such_case

    found = []
    for text in texts:
        names = [name.strip() for name in re.split("[<>]", text)]
        if len(names) != 2 or not all(names):
            raise UsageError(
                f"--question {text!r} does not name two cases",
                "For example: --question 'convnext_t < resnet50'",
            )
        for name in names:
            if not recorded.matching(name):
                raise no_such_case(name, out, [recorded])
        pairs, lost = pairs_of(recorded, *names)
        if not pairs:
            reasons = [f"{selector(each.case)} {each.why}" for each in lost]
            raise UsageError(
                "; ".join(reasons)
                or f"{names[0]} and {names[1]} were not measured in the same setting",
                "Measure both with the same --batch, --threads and --resolution.",
            )
        found += [(base, candidate, text) for base, candidate in pairs]
    return found
