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
from bench.cli.choice import command, overrides_of, suite_of, words
from bench.cli.console import complain, progress_console, say, tell, tell_json
from bench.cli.messages import case_line, failure_line
from bench.cli.options import Options, as_folder, patience_option, seconds_of, with_options
from bench.devices import driver_name
from bench.errors import BAD_INPUT, CASE_FAILED, INTERRUPTED, InterruptedRunError, UsageError
from bench.fleet.certificates import DAYS
from bench.fleet.extra import PORT
from bench.harness import suite as suites
from bench.harness.grid import check_at_most, check_positive
from bench.models import labels
from bench.records import Failure, Measurement, Record

if TYPE_CHECKING:
    from bench.cli.outcome import Outcome
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
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="Measure each case in exactly N processes.")
    ] = None
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Seconds that a case may take.")
    ] = None
    patience: Annotated[float, patience_option] = 0.0
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
        outcomes = _outcomes(results, wanted, console)
    return _concluded(options, outcomes, refused, results, console)


def _wanted(options: FleetOptions) -> Wanted:
    """Return what the flags ask for. Raises UsageError for wrong ones."""
    from bench.fleet.campaign import Wanted

    names = tuple(dict.fromkeys(words(options.device) or ()))
    for name in names:
        driver_name(name)
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


def _outcomes(results: Results, wanted: Wanted, console: Console) -> dict[str, Outcome]:
    """Return what the stores hold of each kind of machine, by its chip and environment."""
    from bench.cli.choice import Choice
    from bench.cli.outcome import outcome_of
    from bench.cli.sweep import Sweep
    from bench.devices import DEVICES

    found = {}
    for here, machine in results.machines.items():
        chip = machine.environment.chip
        choice = Choice(wanted.suite, DEVICES[chip.device], machine.environment, machine.cases, {})
        sweep = Sweep(choice, machine.store, console, wanted.retry_failed)
        found[f"{chip.name} ({here})"] = outcome_of(sweep)
    return found


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
    for name, each in refused.items():
        complain(f"error: {name}: {each.message}")
        complain(each.remedy)
    say(console, f"results: {options.out}")
    say(console, f"next:    bench report {shlex.quote(str(options.out))}")
    if options.as_json:
        tell_json({name: outcome.to_builtins() for name, outcome in outcomes.items()})
    codes = [each.exit_code for each in refused.values()]
    return max([*codes, BAD_INPUT if results.unread else 0]) or (CASE_FAILED if failures else 0)
