"""The client's loop: give each device its cases, take in each record once, outlive losses.

    while something is missing:                                   measure
        connect, and ask a worker of each device for its cases    _offers
        give each group of cases to a worker                      _sitting
        append each record to the store as it comes               Results.take

A lost worker's task goes to another worker, with the records that were known when it was given. A
lost scheduler forgets all tasks: the client waits for the next one, and gives what is missing.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.errors import UnavailableError
from bench.fleet import client
from bench.fleet.client import Fleet, LostError
from bench.fleet.errand import Errand, Measured, Offer, Offered, Sent
from bench.fleet.ledger import Ledger
from bench.harness.plan import Plan
from bench.harness.suite import Suite
from bench.records import Case, Failure, Measurement, Record
from bench.storage.reader import FlawedLineError
from bench.storage.results import Store

POLL_S = 0.5
PATIENCE_S = 600.0  # to wait for a scheduler that went away
Say = Callable[[str], None]
# Called with a device, the rounds of a case, and the record of it that has come.
Came = Callable[[str, Sequence[Measurement], Record], None]


class Wanted(NamedTuple):
    """What the user asks of a fleet."""

    devices: Sequence[str]
    suite: Suite
    plan: Plan
    threads: int | None
    retry_failed: bool
    command: str


class Results:
    """The stores of a fleet's devices below one folder, which the client alone writes."""

    def __init__(self, out: Path, came: Came, say: Say) -> None:
        self._out, self._came, self._say = out, came, say
        self._ledgers: dict[str, Ledger] = {}
        self._stack = contextlib.ExitStack()
        self.stores: dict[str, Store] = {}
        self.offers: dict[str, Offered] = {}
        self.unread: list[str] = []

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, device: str, offered: Offered) -> None:
        """Open the store of the chip that a device is, once no other run writes to it."""
        self.offers[device] = offered
        slug = offered.chip.slug
        if slug not in self.stores:
            store = Store(self._out / slug)
            self._stack.callback(store.close)
            store.open(self._say)
            self.stores[slug], self._ledgers[slug] = store, Ledger(store)

    def ledger(self, device: str) -> Ledger:
        """The ledger of a device's store."""
        return self._ledgers[self.offers[device].chip.slug]

    def store(self, device: str) -> Store:
        """The store of a device."""
        return self.stores[self.offers[device].chip.slug]

    def known(self, device: str, cases: Sequence[Case]) -> list[str]:
        """The records of cases in the environment of the worker, as lines."""
        return list(self.ledger(device).lines(cases, self.offers[device].environment_id))

    def take(self, device: str, line: str, version: str) -> None:
        """Append a record, unless it is there. One of a later format is named, and left out."""
        try:
            record = self.ledger(device).add(line)
        except FlawedLineError as error:
            text = f"a record of the worker with {device} (bench {version}) is left out: "
            self.unread.append(f"{text}{error.flaw.name.lower()}, {error.detail}")
            return
        if isinstance(record, (Measurement, Failure)):
            self._came(device, self._rounds(device, record), record)

    def _rounds(self, device: str, record: Measurement | Failure) -> list[Measurement]:
        """The rounds of the record's case, in its environment and generation."""
        store = self.store(device)
        return store.history(record.case, record.environment_id, record.generation).rounds

    def failures(self, device: str, cases: Sequence[Case]) -> list[Failure]:
        """The failures of the cases of a device."""
        here = self.offers[device].environment_id
        found = [self.store(device).history(case, here) for case in cases]
        return [history.failure for history in found if history.failure]


def measure(
    address: str, folder: Path, wanted: Wanted, results: Results, say: Say
) -> Mapping[str, list[Case]]:
    """Measure until each device has all its cases; return the cases by device.

    Raises UnavailableError if there is no scheduler, or no worker with a device, and RefusedError
    where a worker refuses. Later losses are waited for, PATIENCE_S at most.
    """
    done: set[tuple[str, int]] = set()
    lost_at: float | None = None
    while True:
        try:
            with client.connected(address, folder) as fleet:
                lost_at = None
                _offers(fleet, wanted, results, say)
                _sitting(fleet, wanted, results, done, say)
                return {
                    device: [case for group in offered.groups for case in group]
                    for device, offered in results.offers.items()
                }
        except LostError:
            lost_at = time.monotonic()
            say(f"the scheduler at {address} is lost: waiting for the next one")
        except UnavailableError:
            if not results.offers:
                raise  # it was never there
            if lost_at is None or time.monotonic() - lost_at > PATIENCE_S:
                raise
            time.sleep(POLL_S)


def _offers(fleet: Fleet, wanted: Wanted, results: Results, say: Say) -> None:
    """Ask a worker of each device which cases it has, and open the store of its chip."""
    there = _devices(fleet, wanted.devices, patient=bool(results.offers))
    if missing := [device for device in wanted.devices if device not in there]:
        raise UnavailableError(
            f"no worker of the fleet has {client.names_of(missing)}; it has: "
            f"{client.names_of(there)}",
            "Start `bench fleet worker --devices ...` on a machine that has it.",
        )
    asked = {
        device: fleet.ask(device, Offer(device, wanted.suite, wanted.threads))
        for device in wanted.devices
        if device not in results.offers
    }
    for device, future in asked.items():
        offered = client.wait_for(device, future, Offered, say)
        results.open(device, offered)
        for note in offered.notes:
            say(f"{device}: {note}")


def _devices(fleet: Fleet, wanted: Sequence[str], *, patient: bool) -> list[str]:
    """Return the devices of the fleet; after a loss, wait until the workers are back."""
    deadline = time.monotonic() + (PATIENCE_S if patient else 0.0)
    while not {*wanted} <= {*(there := fleet.devices())} and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return there


def _sitting(
    fleet: Fleet,
    wanted: Wanted,
    results: Results,
    done: set[tuple[str, int]],
    say: Say,
) -> None:
    """Give each group that is not done to a worker, and take in what comes, until all are done."""
    came: queue.Queue[str] = queue.Queue()
    topic = f"bench-{secrets.token_hex(8)}"
    fleet.subscribe(topic, came.put)
    futures = {
        (device, place): fleet.ask(device, _errand(device, group, wanted, results, topic))
        for device, offered in results.offers.items()
        for place, group in enumerate(offered.groups)
        if (device, place) not in done
    }
    while futures:
        for sent in _arrived(came):
            results.take(sent.device, sent.record, sent.bench)
        for key in [key for key, future in futures.items() if future.done()]:
            measured = client.wait_for(key[0], futures.pop(key), Measured, say)
            for line in measured.records:
                results.take(key[0], line, measured.bench)
            done.add(key)
        if futures and not fleet.is_connected:
            raise LostError("the connection was closed")


def _errand(
    device: str, group: Sequence[Case], wanted: Wanted, results: Results, topic: str
) -> Errand:
    return Errand(
        device,
        list(group),
        wanted.plan,
        results.known(device, group),
        topic,
        wanted.command,
        wanted.retry_failed,
    )


def _arrived(came: queue.Queue[str]) -> Iterator[Sent]:
    """The records that have come; waits POLL_S for the first one."""
    try:
        yield from _read(came.get(timeout=POLL_S))
        while True:
            yield from _read(came.get_nowait())
    except queue.Empty:
        return


def _read(text: Any) -> Iterator[Sent]:
    with contextlib.suppress(msgspec.DecodeError):  # somebody else's event
        yield msgspec.json.decode(str(text), type=Sent)
