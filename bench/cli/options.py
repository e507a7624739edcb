"""The flags that `bench run` and `bench profile` share, and what they choose."""

from __future__ import annotations

import contextlib
import functools
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from bench import devices
from bench.cli.progress import plain
from bench.errors import UsageError
from bench.harness import suite as suites
from bench.harness.plan import PRESETS
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.models import zoo
from bench.records import Case, Environment, Source
from bench.storage import lock
from bench.storage.results import Store

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


def folder(text: str) -> Path:
    """A path that somebody meant: an empty one is a shell's variable that is not set."""
    if not text:
        raise UsageError("an empty name of a folder", "Name one; `.` is this one.")
    return Path(text)


def _devices() -> list[str]:
    return [*devices.DEVICES, *devices.ALIASES]


def _models(incomplete: str) -> list[str]:
    """The last of the names so far, completed: `a,re` to `a,resnet50`."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in zoo.ZOO if name.startswith(last)]


SuiteName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="A grid of cases, as `bench list suites` names them, or your own TOML file.",
        autocompletion=suites.names,
    ),
]

DeviceName = Annotated[
    str,
    typer.Option(help="What to measure on: `bench list devices`.", autocompletion=_devices),
]

Models = Annotated[
    str | None,
    typer.Option(
        metavar="A,B@FORM",
        help="Which networks: `bench list models`, or your own net.py:factory. "
        "Without @FORM, all forms of each.",
        autocompletion=_models,
    ),
]

Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A checkpoint for the model, .safetensors or torch's."),
]

Backends = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="What executes them: `bench list backends`."),
]

Precisions = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Number format: `bench list precisions`. Default: fp32."),
]

Batches = Annotated[
    str | None,
    typer.Option(
        metavar="N,N",
        help="Images a call: 1 gives latency, 128 throughput. Default: 1,128.",
    ),
]

Resolutions = Annotated[
    str | None, typer.Option(metavar="N,N", help="Pixels a side. Default: 224.")
]

Threads = Annotated[
    int | None,
    typer.Option(metavar="N", help="CPU threads. Default: all that this process may use."),
]

PresetName = Annotated[
    str,
    typer.Option(
        metavar="|".join(PRESETS),
        help="How thoroughly: seconds, half a minute or minutes a case at batch 1.",
        autocompletion=lambda: list(PRESETS),
    ),
]

Rounds = Annotated[
    int | None,
    typer.Option(metavar="N", help="Exactly so many processes a case, whatever the preset."),
]

Budget = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Begin no round that would make a case take longer."),
]

Out = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Where results go: DIR/<chip>/results.jsonl.", parser=folder),
]

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]

Wait = Annotated[
    bool,
    typer.Option("--wait", help="Where another run is on the device or its file, wait for it."),
]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be measured and how long it takes.")
]

AsJson = Annotated[
    bool, typer.Option("--json", help="A JSON summary on standard output; progress on stderr.")
]


class Flags(NamedTuple):
    """What was typed of the flags that choose cases; None where nothing was."""

    suite: str | None
    device: str
    models: str | None
    weights: Path | None
    backend: str | None
    precision: str | None
    batch: str | None
    resolution: str | None
    threads: int | None


class Chosen(NamedTuple):
    """What a command line asks for; `sources` are where models come from, by their names."""

    suite: suites.Suite
    device: devices.Device
    environment: Environment
    cases: list[Case]
    sources: dict[str, Source]


def choose(flags: Flags) -> Chosen:
    """The cases that the flags name. Raises UsageError or UnavailableError."""
    wanted = suites.load(flags.suite) if flags.suite is not None else suites.Suite()
    overrides = suites.Overrides(
        models=_words(flags.models),
        batch=_numbers("batch", flags.batch),
        resolution=_numbers("resolution", flags.resolution),
        backend=_words(flags.backend),
        precision=_words(flags.precision),
        weights=flags.weights,
    )
    if flags.threads is not None:
        suites.check_positive("threads", flags.threads)
    driver, chip = devices.select(flags.device)
    cases = suites.expand(wanted, overrides, chip, flags.threads)
    environment = describe(driver, chip, runner.new_run_id(), _command())
    return Chosen(wanted, driver, environment, cases, suites.sources(wanted, overrides))


@contextlib.contextmanager
def alone(chosen: Chosen, results: Store, console: Console, *, wait: bool) -> Iterator[Chosen]:
    """Be the only run on the chip and into `results`, which are open meanwhile.

    SIGTERM is from here on as good as Ctrl-C. Raises UsageError that names another run, unless it
    is to `wait` for that; what was chosen then comes with the machine's state after the waiting.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    on_wait = functools.partial(plain, console) if wait else None
    here = chosen.environment
    with lock.device(here.chip, on_wait), contextlib.closing(results):
        results.open(on_wait)
        if wait:
            here = describe(chosen.device, here.chip, here.run_id, here.command)
        yield chosen._replace(environment=here)


def _interrupt(*_: object) -> None:
    """End the run; who asks twice, as `timeout` does, does not end the tidying up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _words(text: str | None) -> tuple[str, ...] | None:
    """`a,b` to its parts. Raises UsageError where one is empty."""
    if text is None:
        return None
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise UsageError(f"an empty name in {text!r}", "Separate names by single commas: a,b.")
    return words


def _numbers(what: str, text: str | None) -> tuple[int, ...] | None:
    """`1,128` to whole numbers. Raises UsageError for what is none."""
    words = _words(text)
    if words is None:
        return None
    for word in words:
        if not WHOLE_NUMBER.fullmatch(word):
            raise UsageError(f"{what} {word!r} is no whole number", f"For example: --{what} 1,128")
    numbers = tuple(int(word) for word in words)
    for number in numbers:
        suites.check_positive(what, number)
    return numbers


def _command() -> str:
    """This command as another may type it: without --out and without absolute paths."""
    words = iter(sys.argv[1:])
    kept = ["bench"]
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(runner.without_paths(word))
    return shlex.join(kept)
