"""The process in which a worker answers questions, apart from the connection to the scheduler.

It reads each question from a line of standard input, and writes the messages that answer it as
lines on standard output, and then an empty line. It ends when its worker ends, or no longer wants
the answer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

import bench
from bench import devices
from bench.devices import OtherChipError, driver_name
from bench.errors import BenchError, UsageError
from bench.fleet import validation
from bench.fleet.errand import (
    Errand,
    FormatError,
    Made,
    Offer,
    Offered,
    Question,
    Refused,
    Sent,
    Waits,
    question_of,
    to_json,
)
from bench.fleet.ledger import WorkersStore
from bench.fleet.validation import Station
from bench.harness import suite as suites
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.harness.scheduler.listener import Listener
from bench.harness.scheduler.runner import Scheduler
from bench.records import Case, of_cases
from bench.storage import lock
from bench.storage.history import newest_generation

GRACE_S = 5.0
UPDATE = "Install a newer bench on the worker, and start it again."
Answer = Offered | Made | Waits | Refused
Tell = Callable[[Answer], None]


def main() -> None:
    """Answer each line of standard input, until its other end closes."""
    station = msgspec.json.decode(sys.argv[1], type=Station)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=[questions], daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            answer(questions.get().decode(), station, _write)
            _write("")  # the end of the answer


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


def _read(questions: queue.SimpleQueue[bytes]) -> None:
    """Read questions; end this process when the worker has closed its end, or is gone."""
    for line in sys.stdin.buffer:
        questions.put(line)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(GRACE_S)  # code in C may have discarded the exception
    os._exit(1)


def answer(text: str, station: Station, write: Callable[[str], None]) -> None:
    """Answer a question: `write` gets each message. An error of a user is a message, too."""

    def tell(body: Answer) -> None:
        write(to_json(Sent(bench.__version__, body)))

    try:
        try:
            question = question_of(text)
        except FormatError as error:
            raise UsageError(
                f"the worker does not understand the question: {error}", UPDATE
            ) from None
        _answer(question, station, tell)
    except BenchError as error:
        is_elsewhere = isinstance(error, OtherChipError)
        tell(Refused(error.message, error.remedy, error.exit_code, is_elsewhere))


def _answer(question: Question, station: Station, tell: Tell) -> None:
    if driver_name(question.device) not in map(driver_name, station.devices):
        raise UsageError(
            f"the worker does not measure on {question.device}", "Start it with this --devices."
        )
    if isinstance(question, Offer):
        tell(_offered(question, station))
    else:
        _measure(question, station, tell)


def _offered(offer: Offer, station: Station) -> Offered:
    """Say which cases a suite has here, by group."""
    driver, chip = devices.select(offer.device)
    weights = Path(offer.weights) if offer.weights else None
    overrides = msgspec.structs.replace(offer.overrides, weights=weights)
    validation.check_files(overrides.models or offer.suite.models, weights, station)
    found = suites.select(offer.suite, overrides, chip, offer.threads)
    groups = [list(each) for _, each in itertools.groupby(found.cases, lambda case: case.group)]
    return Offered(describe(driver, chip, runner.new_run_id(), ""), groups, list(found.notes))


def _measure(errand: Errand, station: Station, tell: Tell) -> None:
    """Measure what the records lack, and tell of each record as soon as it is on the disk."""
    driver, chip = devices.select(errand.device)
    environment = describe(driver, chip, runner.new_run_id(), errand.command)
    environment = msgspec.structs.replace(environment, labels=errand.labels)
    if environment.environment_id != errand.environment_id:
        raise UsageError(
            f"the worker with {chip.name} has changed since its cases were listed",
            "Start the worker again, then run the same command.",
        )
    sources = validation.sources_of(errand.cases, chip, station)
    store = WorkersStore(
        validation.folder_of(errand.campaign, station) / chip.slug,
        errand.known,
        errand.retried,
        lambda record: tell(Made(to_json(record))),
    )

    def on_wait(message: str) -> None:
        tell(Waits(message))

    on_device = lock.device(chip, on_wait, is_shared=driver.is_shared)
    with on_device, contextlib.closing(store):
        store.open(on_wait)
        store.tell_unknown(errand.cases, environment.environment_id)
        scheduler = Scheduler(errand.plan, store, environment, Listener(), True, sources)
        if todo := _todo(errand, store, scheduler):
            driver.prove(chip)
            store.append(environment)
            scheduler.measure_group(todo)


def _todo(errand: Errand, store: WorkersStore, scheduler: Scheduler) -> list[Case]:
    """Return the cases that need a round, in the generation that the client wants.

    A case that has failed needs one only if the client retries it, and it has not failed since.
    """
    begun: list[Case] = []
    anew: list[Case] = []
    for case in errand.cases:
        records = of_cases(store.records_of(case, errand.environment_id))
        earliest = errand.generations.get(case.case_id, 0)
        (begun if newest_generation(records) >= earliest else anew).append(case)
    begun = [case for case in begun if not _has_failed(errand, store, case)]
    scheduler.start_generations(begun, anew=False)
    scheduler.start_generations(anew, anew=True)
    ready = {*begun, *anew}
    return [case for case in errand.cases if case in ready and scheduler.needs_round(case)]


def _has_failed(errand: Errand, store: WorkersStore, case: Case) -> bool:
    failure = store.history(case, errand.environment_id).failure
    if failure is None:
        return False
    return case.case_id not in errand.retried or failure not in errand.known


if __name__ == "__main__":
    main()
