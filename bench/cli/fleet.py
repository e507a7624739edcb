"""`bench fleet`: certificates, a scheduler, workers, and a run on all of them."""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from bench.cli import interrupts
from bench.cli.choice import command, overrides_of, paced, suite_of, words
from bench.cli.console import complain, progress_console, say, tell, tell_json
from bench.cli.curve import span_of
from bench.cli.messages import case_line, failure_line
from bench.cli.options import (
    Options,
    as_folder,
    budget_option,
    dry_run_option,
    pace_option,
    patience_option,
    rounds_option,
    seconds_of,
    with_options,
)
from bench.devices import driver_name
from bench.errors import (
    BAD_INPUT,
    CASE_FAILED,
    INTERRUPTED,
    InterruptedRunError,
    UsageError,
    check_at_most,
    check_positive,
)
from bench.fleet.certificates import DAYS
from bench.fleet.extra import PORT
from bench.harness import suite as suites
from bench.models import labels
from bench.records import Failure, Measurement, Record

if TYPE_CHECKING:
    from bench.cli.outcome import Outcome
    from bench.cli.sweep import Sweep
    from bench.fleet.campaign import Wanted
    from bench.fleet.errand import Refused
    from bench.fleet.results import Results

LAST_PORT = 65535
SHA256 = re.compile("[0-9a-f]{64}")
fleet = typer.Typer(help="Measure on many machines at once.", no_args_is_help=True)

certs_option = typer.Option(
    "--certs",
    metavar="DIR",
    help="The folder of certificates that `bench fleet certs` made.",
    parser=as_folder,
)
scheduler_option = typer.Option(
    "--scheduler", metavar="tls://HOST:PORT", help="The address that the scheduler printed."
)


@fleet.command()
def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", parser=as_folder)],
    days: Annotated[int, typer.Option(metavar="N", help="How long they are valid.")] = DAYS,
) -> None:
    """Make certificates: an authority, and a key pair for scheduler, workers and clients."""
    from bench.fleet import certificates

    check_positive("days", days)
    for path in certificates.make(folder, days):
        tell(str(path))
    tell("A machine needs ca.pem and the two files of its role. Keep the keys secret: whoever has")
    tell("one of them can run any code on the workers.")


@fleet.command()
def scheduler(
    certs: Annotated[Path, certs_option],
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="The port to listen on.")] = PORT,
) -> None:
    """Give tasks to workers until it is interrupted. It measures nothing."""
    from bench.fleet import scheduler as schedulers

    check_at_most("port", port, LAST_PORT)
    schedulers.serve(certs, host, port, lambda address: complain(f"scheduler: {address}"))
    raise typer.Exit(INTERRUPTED)


@fleet.command()
def worker(
    scheduler: Annotated[str, scheduler_option],
    certs: Annotated[Path, certs_option],
    devices: Annotated[
        str, typer.Option(metavar="A,B", help="Devices of this machine: see `bench list devices`.")
    ],
    store: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where this worker keeps what it measured.", parser=as_folder
        ),
    ] = Path("fleet-worker"),
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="SHA256",
            help="Run the user's file with this hash, which lies below this folder. Repeat it for "
            "others.",
        ),
    ] = None,
) -> None:
    """Measure on the devices of this machine until it is interrupted."""
    from bench.fleet import worker as workers
    from bench.fleet.validation import Station

    for digest in allow or ():
        if not SHA256.fullmatch(digest):
            raise UsageError(f"--allow {digest} is no SHA-256", "`sha256sum FILE` prints it.")
    station = Station(list(words(devices) or ()), str(store), allow or [])
    workers.serve(scheduler, certs, station, complain)
    raise typer.Exit(INTERRUPTED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FleetOptions(Options):
    """The flags of `bench fleet run`: where `bench run` has one device, it has several."""

    scheduler: Annotated[str, scheduler_option]
    certs: Annotated[Path, certs_option]
    device: Annotated[
        str, typer.Option("--devices", metavar="A,B", help="Measure on each of these devices.")
    ] = "cpu"
    rounds: Annotated[int | None, rounds_option] = None
    budget: Annotated[float | None, budget_option] = None
    patience: Annotated[float, patience_option] = 0.0
    pace: Annotated[str | None, pace_option] = None
    dry_run: Annotated[bool, dry_run_option] = False
    away: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="How long to wait for a scheduler or worker that was lost."
        ),
    ] = "10m"


@fleet.command("run")
@with_options(FleetOptions)
def run(options: FleetOptions) -> int:
    """Measure on all machines of a fleet that have the devices. The same command resumes."""
    from bench.cli.outcome import outcome_of
    from bench.fleet import campaign, dask
    from bench.fleet.results import Results

    dask.check_address(options.scheduler)
    wanted = _wanted(options)
    dask.prepare()
    interrupts.heed()
    console = progress_console(to_stderr=options.as_json)
    line = functools.partial(say, console)
    on_wait = line if options.wait else None
    with Results(options.out, functools.partial(_came, console), on_wait) as results:
        try:
            refused = campaign.measure(options.scheduler, options.certs, wanted, results, line)
        except KeyboardInterrupt:
            raise InterruptedRunError(options.out, saved=results.has_grown) from None
        sweeps = _sweeps(options, results, wanted, console)
        if options.dry_run:
            _foretell(sweeps, wanted, console, as_json=options.as_json)
            return _told(refused)
        outcomes = {name: outcome_of(sweep) for name, sweep in sweeps.items()}
    return _concluded(options, outcomes, refused, results, console)


def _wanted(options: FleetOptions) -> Wanted:
    """Return what the flags ask for. Raises UsageError for wrong ones."""
    from bench.fleet.campaign import Wanted

    names = tuple(dict.fromkeys(words(options.device) or ()))
    for name in names:
        driver_name(name)
    if span_of(options.batch):
        raise UsageError(
            f"--batch {options.batch}: a fleet measures the batch sizes that you name",
            "Name them: --batch 1,2,4,8; or use `bench run` on each machine.",
        )
    options = dataclasses.replace(options, scenario=paced(options.scenario, options.pace))
    suite = suite_of(options)
    overrides = overrides_of(options, suite)
    return Wanted(
        devices=names,
        suite=suite,
        overrides=msgspec.structs.replace(overrides, weights=None),
        weights=str(options.weights or ""),
        threads=options.threads,
        plan=suites.plan_for(
            options.preset, suite, options.rounds, options.budget, options.patience
        ),
        labels=functools.partial(labels.parse, options.label or []),
        command=command(),
        retry_failed=options.retry_failed,
        again=options.again,
        away_s=seconds_of(options.away, "--away"),
        check=interrupts.check,
        dry_run=options.dry_run,
    )


def _came(console: Console, record: Record, rounds: Sequence[Measurement]) -> None:
    """Print a line for a record that has come; `rounds` are those of its case."""
    from bench.analysis.stats import summarise

    if isinstance(record, Failure):
        say(console, f"{record.case.device}: {failure_line(record)}")
    elif isinstance(record, Measurement) and rounds:
        grouped = any(each.calls_per_sample > 1 for each in rounds)
        summary = summarise([each.samples_s for each in rounds], grouped=grouped)
        is_last = record.stopped_by != "round"
        state = (
            f"done after {len(rounds)} ({record.stopped_by})" if is_last else f"round {len(rounds)}"
        )
        say(console, f"{record.case.device}: {case_line(record.case, summary, state)}")


def _sweeps(
    options: FleetOptions, results: Results, wanted: Wanted, console: Console
) -> dict[str, Sweep]:
    """Return the cases and the store of each kind of machine, by its chip and environment."""
    from bench.cli.choice import Choice
    from bench.cli.sweep import Sweep
    from bench.devices import DEVICES
    from bench.storage.results import Store

    found = {}
    for here, offered in results.offered.items():
        chip, machine = offered.environment.chip, results.machines.get(here)
        cases = [case for group in offered.groups for case in group]
        choice = Choice(wanted.suite, DEVICES[chip.device], offered.environment, cases, {})
        store = machine.store if machine else Store(options.out / chip.slug)
        sweep = Sweep(choice, store, console, wanted.retry_failed, wanted.again)
        found[f"{chip.name} ({here})"] = sweep
    return found


def _foretell(
    sweeps: Mapping[str, Sweep], wanted: Wanted, console: Console, *, as_json: bool
) -> None:
    """Print the cases of each kind of machine, and the time that one such machine would take."""
    from bench.cli import forecast

    seconds = {name: forecast.remaining(sweep, wanted.plan) for name, sweep in sweeps.items()}
    if as_json:
        tell_json({name: forecast.to_builtins(each, {}) for name, each in seconds.items()})
        return
    for name, sweep in sweeps.items():
        say(console, name, style="bold")
        forecast.show(sweep, seconds[name], {})
        say(console, f"{forecast.total(seconds[name])} on one such machine; nothing was measured")


def _concluded(
    options: FleetOptions,
    outcomes: Mapping[str, Outcome],
    refused: Mapping[str, Refused],
    results: Results,
    console: Console,
) -> int:
    """Print what was measured and what was not, and the next command; return the exit code."""
    say(console, "")
    for name, outcome in outcomes.items():
        say(console, name, style="bold")
        outcome.show(console)
    failures = [each for outcome in outcomes.values() for each in outcome.failures]
    for failure in failures:
        say(console, failure_line(failure))
    for warning in [*results.warnings, *results.unread]:
        complain(f"warning: {warning}")
    if results.unread:
        complain("Install the newest bench here, and run the same command again.")
    refusal = _told(refused)
    say(console, f"results: {options.out}")
    say(console, f"next:    bench report {shlex.quote(str(options.out))}")
    if options.as_json:
        tell_json({name: outcome.to_builtins() for name, outcome in outcomes.items()})
    unread = BAD_INPUT if results.unread else 0
    return max(refusal, unread) or (CASE_FAILED if failures else 0)


def _told(refused: Mapping[str, Refused]) -> int:
    """Print why workers refused, and return the exit code: 0 where none did."""
    for name, each in refused.items():
        complain(f"error: {name}: {each.message}")
        complain(each.remedy)
    return max((each.exit_code for each in refused.values()), default=0)
