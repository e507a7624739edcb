"""Turns flags into the cases to measure, their device and their environment."""

from __future__ import annotations

import functools
import re
import shlex
import sys
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from rich.console import Console

from bench import devices
from bench.cli.console import say
from bench.cli.options import Options
from bench.errors import UsageError, check_positive
from bench.harness import suite as suites
from bench.harness.networks import TUNED
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.models import labels, user
from bench.models.naming import by_title, without_hash
from bench.records import Case, Chip, Environment, Source, scenario
from bench.storage import lock
from bench.storage.results import Store
from bench.text import without_paths

THIS_PLACE = ("--out", "--scheduler", "--certs")  # flags with a folder or a host
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


class Choice(NamedTuple):
    """The cases that the flags select, with their device and environment.

    `sources` maps the name of each model outside the zoo to its file or module. `notes` are
    sentences about weights and inputs. `built` are the cases whose network the user's code has
    built already.
    """

    suite: suites.Suite
    driver: devices.Driver
    environment: Environment
    cases: list[Case]
    sources: dict[str, Source]
    notes: Sequence[str] = ()
    built: frozenset[Case] = frozenset()

    def with_current_state(self) -> Choice:
        """Return the choice with the current state of the machine; for a run that had to wait."""
        was = self.environment
        now = describe(self.driver, was.chip, was.run_id, was.command)
        return self._replace(environment=msgspec.structs.replace(now, labels=was.labels))


def choose(options: Options, console: Console | None, *, all_forms: bool = False) -> Choice:
    """Return the cases that the flags select; see `suite.select` for `all_forms`.

    Code of the user runs only while no other run uses the device or the file of results, because it
    would disturb that run: `console` says what --wait waits for. A `console` of None does not look
    for other runs. Raises UsageError for wrong flags or because of another run, and
    UnavailableError if the device or a backend is missing.
    """
    suite = suite_of(options)
    overrides = overrides_of(options, suite)
    driver, chip = devices.select(options.device)

    def before_code() -> None:
        if console is not None:
            _let_others_end(options, driver, chip, console)

    selected = suites.select(
        suite, overrides, chip, options.threads, before_code, all_forms=all_forms
    )
    environment = describe(driver, chip, runner.new_run_id(), command())
    found = labels.parse(options.label or [], selected.cases, _typed(overrides, selected.cases))
    environment = msgspec.structs.replace(environment, labels=found)
    choice = Choice(suite, driver, environment, *selected)
    return choice._replace(notes=[*user.unreadable_packages(), *choice.notes])


def suite_of(options: Options) -> suites.Suite:
    """Return the suite that the flags name. Raises UsageError."""
    return suites.load(options.suite) if options.suite is not None else suites.Suite()


def overrides_of(options: Options, suite: suites.Suite) -> suites.Overrides:
    """Return what the flags replace in the suite. Raises UsageError for wrong flags."""
    if options.threads is not None:
        check_positive("threads", options.threads)
    return suites.Overrides(
        models=tuple(map(by_title, words(options.models) or suite.models)),
        batch=_numbers("batch", options.batch),
        resolution=_numbers("resolution", options.resolution),
        input=options.input,
        backend=words(options.backend),
        precision=words(options.precision),
        allocator=words(options.allocator),
        huge_pages=words(options.huge_pages),
        workload=words(options.workload),
        scenario=words(options.scenario),
        weights=options.weights,
    )


def paced(scenarios: str | None, pace: str | None) -> str | None:
    """Return the scenarios with the one that --pace means. Raises UsageError for no rate."""
    if pace is None:
        return scenarios
    known = scenario.parse(f"{scenario.PACE}-{pace.strip()}")
    if known is None:
        raise UsageError(f"--pace {pace!r} is not a rate", "For example: --pace 15Hz")
    return ",".join(filter(None, [scenarios, known.name]))


def _let_others_end(options: Options, driver: devices.Driver, chip: Chip, console: Console) -> None:
    """Wait for another run with --wait; else raise UsageError if there is one. Locks nothing."""
    on_wait = functools.partial(say, console) if options.wait else None
    with lock.device(chip, on_wait, is_shared=driver.is_shared):
        pass
    Store(options.out / chip.slug).let_others_end(on_wait)


def _typed(overrides: suites.Overrides, cases: Sequence[Case]) -> dict[str, str]:
    """Map the networks as typed, without @form, to their models in `cases`."""
    weights = f"+{overrides.weights.name}" if overrides.weights else ""
    found = {}
    for entry in overrides.models or ():
        name = user.split_form(entry.partition(TUNED)[0])[0]
        own = user.resolve(name)
        wanted = (own.code if own else name) + weights
        for case in cases:
            if without_hash(case.model) == wanted:
                found[name] = case.model
    return found


def words(text: str | None) -> tuple[str, ...] | None:
    """Split `a,b` at the commas. Raises UsageError for an empty part."""
    if text is None:
        return None
    found = tuple(word.strip() for word in text.split(","))
    if not all(found):
        raise UsageError(f"an empty name in {text!r}", "Separate names by single commas: a,b.")
    return found


def _numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """Parse `1,128`. Raises UsageError for a part that is not a positive whole number."""
    parts = words(text)
    if parts is None:
        return None
    for word in parts:
        if not WHOLE_NUMBER.fullmatch(word):
            raise UsageError(
                f"{flag} {word!r} is not a whole number", f"For example: --{flag} 1,128"
            )
    numbers = tuple(map(int, parts))
    for number in numbers:
        check_positive(flag, number)
    return numbers


def command() -> str:
    """Return the command as typed, without absolute paths and without flags of THIS_PLACE.

    The record stores it, so it must be valid on another machine.
    """
    words = iter(sys.argv[1:])
    kept = ["bench"]
    for word in words:
        if word in THIS_PLACE:
            next(words, None)
        elif word.partition("=")[0] not in THIS_PLACE:
            kept.append(without_paths(word))
    return shlex.join(kept)
