"""What a worker does: `answer` is the only function that a client calls, with JSON both ways."""

from __future__ import annotations

import contextlib
import itertools
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

import bench
from bench import devices
from bench.errors import CASE_FAILED, BenchError, UsageError
from bench.fleet.errand import (
    FORMAT,
    QUESTIONS,
    Answer,
    Errand,
    Measured,
    Offer,
    Offered,
    Refused,
    Sent,
    format_of,
    to_json,
)
from bench.fleet.ledger import Ledger
from bench.harness import suite as suites
from bench.harness.networks import TUNED
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.harness.scheduler.listener import Listener
from bench.models import user
from bench.models.user.content import file_hash
from bench.records import Case, Chip, Record, Source
from bench.storage import lock
from bench.storage.reader import FlawedLineError
from bench.storage.results import Store
from bench.text import brief

UPDATE = "Install a newer bench on the worker, and start it again."
Send = Callable[[str, str], None]  # topic, JSON


class Place(NamedTuple):
    """What a worker measures with: its devices, its folder, and files of users that it may run.

    `allowed` are hashes of files as names of models have them: `1a2b3c4d`.
    """

    devices: Sequence[str]
    store: Path
    allowed: frozenset[str]
    send: Send


_here: list[Place] = []  # that of this process, once it is a worker of ours


def serve_at(place: Place) -> None:
    """Make this process a worker, at `place`."""
    _here[:] = [place]


def answer(question: str) -> str:
    """Answer a question of a client, both as JSON. An error is an answer, too."""
    try:
        return to_json(_answered(question))
    except BenchError as error:
        refused = Refused(error.message, error.remedy, error.exit_code, bench.__version__)
    except Exception as error:  # a client would take some errors for those of its connection
        traceback.print_exc()
        said = f"it failed with {type(error).__name__}: {brief(error)}"
        refused = Refused(said, "See what the worker printed.", CASE_FAILED, bench.__version__)
    return to_json(refused)


def _answered(text: str) -> Answer:
    if not _here:
        raise UsageError(
            "a worker of somebody else was asked", "Start it with `bench fleet worker`."
        )
    try:
        if format_of(text) > FORMAT:
            raise UsageError(f"the worker has bench {bench.__version__}, which is too old", UPDATE)
        question = QUESTIONS.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(f"the worker does not understand the question: {error}", UPDATE) from None
    (place,) = _here
    if question.device not in place.devices:
        raise UsageError(f"the worker does not measure on {question.device}")
    return _offered(question, place) if isinstance(question, Offer) else _measured(question, place)


def _offered(offer: Offer, place: Place) -> Offered:
    """Say which cases a suite has here, by group."""
    driver, chip = devices.select(offer.device)
    _check_files(offer.suite.models, place)
    found = suites.select(offer.suite, suites.Overrides(), chip, offer.threads)
    here = describe(driver, chip, runner.new_run_id(), "").environment_id
    groups = [list(each) for _, each in itertools.groupby(found.cases, lambda case: case.group)]
    return Offered(chip, here, groups, bench.__version__, list(found.notes))


def _measured(errand: Errand, place: Place) -> Measured:
    """Measure what the records lack, and send each record as soon as it is on the disk."""
    driver, chip = devices.select(errand.device)
    sources = _validated(errand, chip, place)
    store = _SendingStore(
        place.store / chip.slug,
        lambda line: place.send(
            errand.topic, to_json(Sent(errand.device, line, bench.__version__))
        ),
    )

    def on_wait(_: str) -> None:
        """Wait for a run of an earlier client, which may measure the same cases."""

    on_device = lock.device(chip, on_wait, is_shared=driver.is_shared)
    with on_device, contextlib.closing(store):
        store.open(on_wait)
        ledger = Ledger(store)
        for line in errand.known:
            with contextlib.suppress(FlawedLineError):  # a record of a newer bench
                ledger.add(line)
        store.sends = True
        environment = describe(driver, chip, runner.new_run_id(), errand.command)
        runner.run(
            errand.cases,
            errand.plan,
            store,
            environment,
            Listener(),
            retry_failed=errand.retry_failed,
            sources=sources,
        )
        return Measured(
            list(ledger.lines(errand.cases, environment.environment_id)), bench.__version__
        )


class _SendingStore(Store):
    """A store that also sends what a run appends, once it is on the disk."""

    def __init__(self, folder: Path, send: Callable[[str], None]) -> None:
        super().__init__(folder)
        self._send = send
        self.sends = False

    def append(self, record: Record) -> None:
        super().append(record)
        if self.sends:
            self._send(to_json(record))


def _validated(errand: Errand, chip: Chip, place: Place) -> dict[str, Source]:
    """Return the sources of users' networks. Raises UsageError for a case that is none here."""
    _check_files([case.model for case in errand.cases], place)
    sources: dict[str, Source] = {}
    known: set[Case] = set()
    for case in errand.cases:
        found = suites.select(_suite_of(case), suites.Overrides(), chip, case.threads)
        known.update(found.cases)
        sources |= found.sources
    if strange := [case for case in errand.cases if case not in known]:
        raise UsageError(f"{strange[0].name} is no case on this worker", UPDATE)
    return sources


def _suite_of(case: Case) -> suites.Suite:
    """Return the suite that has this case alone."""
    return suites.Suite(
        models=(case.name,),
        batch=(case.batch,),
        resolution=(case.resolution,) if not case.input else suites.DEFAULT_RESOLUTION,
        input=case.input,
        backend=(case.backend,),
        precision=(case.precision,),
        allocator=(case.allocator,),
        huge_pages=(case.huge_pages,),
        workload=(case.workload,),
        scenario=(case.scenario,),
    )


def _check_files(models: Sequence[str], place: Place) -> None:
    """Raise UsageError for a file of a user whose hash is not allowed here. Nothing of it runs."""
    for name in models:
        if TUNED in name:
            raise UsageError(f"a recipe does not travel: {name}", "Name the network and its form.")
        code, weights = user.split_weights(user.split_form(name)[0])
        own = user.resolve(user.split_hash(code)[0])
        if own is not None and not own.source.file:
            raise UsageError(
                f"{code} is code of a package", "A worker runs networks of single files."
            )
        for path in filter(None, [own and Path(own.source.file), weights]):
            if (found := file_hash(path)) not in place.allowed:
                raise UsageError(
                    f"the worker does not run {path.name}, whose hash is {found}",
                    f"Whoever trusts this file starts the worker with --allow {found}.",
                )
