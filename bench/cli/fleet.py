"""`bench fleet`: certificates, a scheduler, workers, and a run on all of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bench.analysis.stats import summarise
from bench.cli import completion, interrupts
from bench.cli.choice import command, numbers, words
from bench.cli.console import complain, progress_console, say, tell
from bench.cli.messages import case_line, failure_line
from bench.cli.options import (
    DEFAULT_OUT,
    backend_option,
    input_option,
    out_option,
    precision_option,
    preset_option,
    threads_option,
    with_options,
)
from bench.errors import BAD_INPUT, CASE_FAILED, InterruptedRunError
from bench.harness import suite as suites
from bench.harness.grid import check_positive
from bench.models.naming import by_title
from bench.records import Failure, Measurement, Record

Tell = Callable[[str], None]
fleet = typer.Typer(help="Measure on many machines at once.", no_args_is_help=True)

certs_option = typer.Option(
    "--certs", metavar="DIR", help="The folder of certificates that `bench fleet certs` made."
)
scheduler_option = typer.Option(
    "--scheduler", metavar="tls://HOST:PORT", help="The address that the scheduler printed."
)


@fleet.command()
def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    days: Annotated[int, typer.Option(metavar="N", help="How long they are valid.")] = 365,
) -> None:
    """Make certificates: an authority, and a key pair for scheduler, workers and clients."""
    from bench.fleet import certificates

    check_positive("days", days)
    for path in certificates.make(folder, days):
        tell(str(path))
    tell("A machine needs ca.pem and the two files of its role. Keep the keys secret: whoever has")
    tell("the key of a client can run any code on the workers.")


@fleet.command()
def scheduler(
    certs: Annotated[Path, certs_option],
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The address to listen on.")
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", help="The port to listen on.")] = 8786,
) -> None:
    """Give tasks to workers, until it is ended."""
    from bench.fleet import scheduler as schedulers

    schedulers.serve(certs, host, port, lambda address: complain(f"scheduler: {address}"))


@fleet.command()
def worker(
    scheduler: Annotated[str, scheduler_option],
    certs: Annotated[Path, certs_option],
    devices: Annotated[
        str, typer.Option(metavar="A,B", help="Devices of this machine: see `bench list devices`.")
    ],
    store: Annotated[
        Path, typer.Option(metavar="DIR", help="Where this worker keeps what it measured.")
    ] = Path("fleet-worker"),
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="HASH",
            help="Run a user's file with this hash (8 digits), which lies in this folder. Repeat "
            "it for others.",
        ),
    ] = None,
) -> None:
    """Measure on the devices of this machine, until it is ended."""
    from bench.fleet import worker as workers

    workers.serve(scheduler, certs, words(devices) or (), store, allow or [], complain)


@dataclasses.dataclass(frozen=True)
class FleetOptions:
    """The flags of `bench fleet run`."""

    scheduler: Annotated[str, scheduler_option]
    certs: Annotated[Path, certs_option]
    devices: Annotated[str, typer.Option(metavar="A,B", help="Measure on each of these devices.")]
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A grid of cases: a name from `bench list suites`, or your own TOML file.",
            autocompletion=suites.names,
        ),
    ] = None
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B@FORM",
            help="Networks, as for `bench run`.",
            autocompletion=completion.last_of_list(completion.models),
        ),
    ] = None
    backend: Annotated[str | None, backend_option] = None
    precision: Annotated[str | None, precision_option] = None
    batch: Annotated[
        str | None, typer.Option(metavar="N,N", help="Images per call.  [default: 1,128]")
    ] = None
    resolution: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Height and width in pixels.  [default: 224]"),
    ] = None
    input: Annotated[str | None, input_option] = None
    threads: Annotated[int | None, threads_option] = None
    scenario: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="When a network is called: see `bench list scenarios`."),
    ] = None
    preset: Annotated[str, preset_option] = "default"
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="Measure each case in exactly N processes.")
    ] = None
    out: Annotated[Path, out_option] = DEFAULT_OUT
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Measure cases that failed before again.")
    ] = False


@fleet.command("run")
@with_options(FleetOptions)
def run(options: FleetOptions) -> int:
    """Measure on all devices of a fleet, into one folder. The same command resumes."""
    from bench.fleet import campaign, dask

    dask.check_address(options.scheduler)
    suite = _suite_of(options)
    wanted = campaign.Wanted(
        words(options.devices) or (),
        suite,
        suites.plan_for(options.preset, suite, options.rounds, None),
        options.threads,
        options.retry_failed,
        command(),
    )
    dask.prepare()
    interrupts.heed()
    tell_line = functools.partial(say, progress_console(to_stderr=False))
    came = functools.partial(_came, tell_line)
    with campaign.Results(options.out, came, tell_line) as results:
        try:
            cases = campaign.measure(options.scheduler, options.certs, wanted, results, tell_line)
        except KeyboardInterrupt:
            grown = any(store.has_grown for store in results.stores.values())
            raise InterruptedRunError(options.out, saved=grown) from None
        failures = [each for device in cases for each in results.failures(device, cases[device])]
    return _concluded(options, failures, results.unread)


def _suite_of(options: FleetOptions) -> suites.Suite:
    """Return the suite with the flags in it. Raises UsageError for wrong ones."""
    suite = suites.load(options.suite) if options.suite is not None else suites.Suite()
    given = {
        "models": tuple(map(by_title, words(options.models) or suite.models)),
        "batch": numbers("batch", options.batch),
        "resolution": numbers("resolution", options.resolution),
        "input": options.input,
        "backend": words(options.backend),
        "precision": words(options.precision),
        "scenario": words(options.scenario),
    }
    known = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(suite, **known, profile=False)


def _came(tell_line: Tell, device: str, rounds: Sequence[Measurement], record: Record) -> None:
    """Print a line for a record that has come; `rounds` are those of its case."""
    if isinstance(record, Failure):
        tell_line(f"{device}: {failure_line(record)}")
    elif isinstance(record, Measurement):
        summary = summarise([each.samples_s for each in rounds])
        is_last = record.stopped_by != "round"
        ended = f"done after {len(rounds)} ({record.stopped_by})" if is_last else ""
        tell_line(f"{device}: {case_line(record.case, summary, ended or f'round {len(rounds)}')}")


def _concluded(options: FleetOptions, failures: Sequence[Failure], unread: Sequence[str]) -> int:
    """Write the report of all devices, say what is missing, and return the exit code."""
    from bench.report import write

    written, _ = write([options.out], None)
    for each in failures:
        complain(failure_line(each))
    for text in unread:
        complain(f"error: {text}")
    tell(f"results: {options.out}")
    if (page := options.out / "report.md") in written:
        tell(f"report:  {page}")
    if unread:
        complain("Install the same bench, or a newer one, here, and run the same command again.")
        return BAD_INPUT
    return CASE_FAILED if failures else 0
