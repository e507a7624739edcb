"""What a command line asks for: cases, and the device and environment to measure them in."""

from __future__ import annotations

import re
import shlex
import sys
from typing import NamedTuple

from bench import devices
from bench.cli.options import Options
from bench.errors import UsageError
from bench.harness import suite as suites
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.records import Case, Environment, Source
from bench.text import without_paths

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


class Choice(NamedTuple):
    """The cases that flags name, and where they are measured.

    `sources` maps the name of each model outside the zoo to where it comes from.
    """

    suite: suites.Suite
    driver: devices.Driver
    environment: Environment
    cases: list[Case]
    sources: dict[str, Source]

    def described_anew(self) -> Choice:
        """The same choice with the machine's present state, for a run that had to wait."""
        was = self.environment
        return self._replace(environment=describe(self.driver, was.chip, was.run_id, was.command))


def choose(options: Options) -> Choice:
    """The cases that the flags name. Raises UsageError or UnavailableError."""
    suite = suites.load(options.suite) if options.suite is not None else suites.Suite()
    overrides = suites.Overrides(
        models=_words(options.models),
        batch=_numbers("batch", options.batch),
        resolution=_numbers("resolution", options.resolution),
        backend=_words(options.backend),
        precision=_words(options.precision),
        weights=options.weights,
    )
    if options.threads is not None:
        suites.check_positive("threads", options.threads)
    driver, chip = devices.select(options.device)
    cases = suites.expand(suite, overrides, chip, options.threads)
    environment = describe(driver, chip, runner.new_run_id(), _command())
    return Choice(suite, driver, environment, cases, suites.sources(suite, overrides))


def _words(text: str | None) -> tuple[str, ...] | None:
    """The parts of `a,b`. Raises UsageError for an empty part."""
    if text is None:
        return None
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise UsageError(f"an empty name in {text!r}", "Separate names by single commas: a,b.")
    return words


def _numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """The positive whole numbers of `1,128`. Raises UsageError for any other part."""
    words = _words(text)
    if words is None:
        return None
    for word in words:
        if not WHOLE_NUMBER.fullmatch(word):
            raise UsageError(
                f"{flag} {word!r} is not a whole number", f"For example: --{flag} 1,128"
            )
    numbers = tuple(int(word) for word in words)
    for number in numbers:
        suites.check_positive(flag, number)
    return numbers


def _command() -> str:
    """This command as somebody else may type it: without --out and without absolute paths."""
    words = iter(sys.argv[1:])
    kept = ["bench"]
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(without_paths(word))
    return shlex.join(kept)
