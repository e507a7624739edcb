"""`bench profile`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from bench.analysis.profile.recorded import ProfileHistory
from bench.backends import BACKENDS
from bench.cli import completion, interrupts
from bench.cli.choice import Choice, choose, words
from bench.cli.console import progress_console, say, tell_json, tell_page
from bench.cli.messages import profile_line
from bench.cli.options import Options, with_options
from bench.cli.sweep import Sweep, case_count, conclude, locked, start, sweep_of
from bench.devices.precision import PRECISIONS
from bench.errors import UsageError, unknown
from bench.harness import suite as suites
from bench.harness.plan import PROFILE_S
from bench.models.labels import stamped
from bench.records import Failure
from bench.records.scenario import TIGHT
from bench.records.workload import TRAIN
from bench.storage.results import Store

LONGEST_S = 600.0
TRACES = "traces"
LISTED = "`bench list backends` and `bench list precisions` name them."


@dataclasses.dataclass(frozen=True)
class ProfileOptions(Options):
    """The flags of `bench profile`."""

    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N,N", help="Images per call.  [default: 1, and 32 for a training step]"
        ),
    ] = None
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(PROFILE_S),
            help="How long a case is profiled: 4.5, 9 or 30 s.",
            autocompletion=completion.presets,
        ),
    ] = "quick"
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Profile each case for this long, whatever the preset."
        ),
    ] = None
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--diff",
            metavar="A B",
            help="Compare two cases: how much less or more time each kind of operator takes in B. "
            "A case is a model, or 'model@form compile bf16'.",
        ),
    ] = None
    trace: Annotated[
        bool,
        typer.Option(
            "--trace", help="Write traces for Chrome or Perfetto into DIR/<chip>/traces/."
        ),
    ] = False


@with_options(ProfileOptions)
def profile(options: ProfileOptions) -> int:
    """Show which operators and modules take the time; the parts add up to the latency."""
    suites.check_preset(options.preset)
    if options.seconds is not None and not 0 < options.seconds <= LONGEST_S:
        raise UsageError(
            f"--seconds {options.seconds:g} is out of range",
            f"Give a number above 0 and at most {LONGEST_S:g}.",
        )
    if words(options.scenario) not in (None, (TIGHT,)):
        raise UsageError("a profile is one of a tight loop", "Leave out --scenario.")
    options = dataclasses.replace(options, scenario=TIGHT)  # whatever the suite says
    if options.batch is None and words(options.workload) != (TRAIN,):
        options = dataclasses.replace(options, batch="1")
    console = progress_console(to_stderr=True)
    if options.diff:
        choice = _choose_both(options, console, *options.diff)
    else:
        choice = choose(options, console)
    if not choice.driver.runs_torch:
        raise UsageError(
            f"the {choice.driver.name} device has no operators to profile",
            "Choose another --device.",
        )
    sweep = sweep_of(
        choice, options.out, console, retry_failed=options.retry_failed, again=options.again
    )
    with locked(sweep, wait=options.wait) as sweep:
        seconds = options.seconds or PROFILE_S[options.preset]
        found = profile_cases(sweep, seconds, trace=options.trace)
    exit_code = conclude(sweep, failures_of(found), options.out)
    named = sweep.environment.labels
    found = [known._replace(rounds=stamped(known.rounds, named)) for known in found]
    _show(found, sweep.store, is_difference=bool(options.diff), as_json=options.as_json)
    return exit_code


def profile_cases(sweep: Sweep, seconds: float, *, trace: bool = False) -> list[ProfileHistory]:
    """Profile the cases without a profile on record, and print a line for each.

    `seconds` is the time per case. Returns the recorded profile or failure of every case.
    """
    from bench.harness.scheduler import profiler

    def tell_line(known: ProfileHistory) -> None:
        interrupts.check()
        say(sweep.console, profile_line(known))

    start(sweep, f"Profiling {case_count(sweep.cases)}", needs_device=True)
    return profiler.profile(
        sweep.cases,
        seconds,
        sweep.store,
        sweep.environment,
        tell_line,
        retry_failed=sweep.retry_failed,
        again=sweep.again,
        sources=sweep.choice.sources,
        traces=sweep.store.path.parent / TRACES if trace else None,
    )


def failures_of(found: Sequence[ProfileHistory]) -> list[Failure]:
    """Return the failures among the profiled cases."""
    return [known.failure for known in found if known.failure]


def _choose_both(options: ProfileOptions, console: Console, *names: str) -> Choice:
    """Return the two cases that --diff names. Raises UsageError if the names give more or fewer."""
    if options.suite or options.models:
        raise UsageError(
            "--diff cannot be combined with --suite or --models", "Leave out --suite and --models."
        )
    both = [choose(_with_words(options, name), console) for name in names]
    cases = [case for each in both for case in each.cases]
    if [len(each.cases) for each in both] != [1, 1]:
        raise UsageError(
            f"--diff compares two cases, but these names give {len(cases)}",
            "Name both with their form: --diff repnext_u3_t@train repnext_u3_t@rrep",
        )
    sources = {name: source for each in both for name, source in each.sources.items()}
    return both[0]._replace(cases=cases, sources=sources)


def _with_words(options: ProfileOptions, name: str) -> ProfileOptions:
    """Return the options with the model, backend and precision of `model@form compile bf16`."""
    model, *words = name.split() or [""]
    options = dataclasses.replace(options, models=model)
    for word in words:
        if word in BACKENDS:
            options = dataclasses.replace(options, backend=word)
        elif word in PRECISIONS:
            options = dataclasses.replace(options, precision=word)
        else:
            choices = [*BACKENDS, *PRECISIONS]
            raise unknown("backend or precision", word, choices, LISTED)
    return options


def _show(
    found: Sequence[ProfileHistory], store: Store, *, is_difference: bool, as_json: bool
) -> None:
    """Print the profiles on standard output."""
    from bench.analysis.profile.recorded import peaks_of
    from bench.report.tables import profiles

    good = [known for known in found if not known.failure]
    if as_json:
        records = [known.failure or known.profile for known in found]
        tell_json(records)
    elif is_difference and len(good) == len(found):
        tell_page(profiles.difference_page(*(known.rounds for known in good)))
        for note in (known.note for known in good if known.note):
            tell_page(note)
    elif good:
        shown = [known.profile for known in good]
        peaks = {each.case_id: peaks_of(store.records, each) for each in shown}
        notes = {known.profile.case_id: known.note for known in good}
        tell_page(profiles.page(shown, peaks, replaced=notes))
