"""The client's loop: give each kind of machine its cases, take in each record once, outlive losses.

    until each machine has all its cases:                         measure
        connect to the scheduler                                  connected
        ask a worker of each kind which cases it has              Campaign.work
        give each group of cases to a worker of its kind          _give
        append each record to the store as it comes               Results.take
        give the group again if its worker was lost               _ended

A question that was lost is asked again with the records that have come by then. A lost scheduler
forgets all questions: the client waits for the next scheduler, and asks what is still open.
"""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.devices import driver_name
from bench.errors import BAD_INPUT, UnavailableError, UsageError
from bench.fleet.client import Ended, Fleet, Kind, LostError, Said, connected
from bench.fleet.errand import Errand, FormatError, Made, Offer, Offered, Refused, Waits, sent_of
from bench.fleet.reach import NotThereError
from bench.fleet.results import Results
from bench.harness.plan import Plan
from bench.harness.suite import Overrides, Suite
from bench.records import Case
from bench.text import duration, some_of

POLL_S = 0.5
LOOK_S = 3.0  # how often the client looks which workers are there
START_S = 10.0  # in which the workers connect to a scheduler that has just started
MOST_LOSSES = 25  # of the workers of one group, without a record in between
MOST_SILENT = 3  # answers without a record that is missing
NO_WORKER = Refused("no worker is left", "Start one, and run the same command again.", BAD_INPUT)
NO_ANSWER = Refused("workers end without an answer", "Look at what they print.", BAD_INPUT)
CHANGED = Refused("it has changed since it was started", "Start it again.", BAD_INPUT)
Say = Callable[[str], None]
# The names that the user gives to the networks among these cases.
Labels = Callable[[Sequence[Case]], dict[str, str]]


class Wanted(NamedTuple):
    """What the user asks of a fleet. The client waits `away_s` for what it has lost.

    `check` raises KeyboardInterrupt after a signal whose own exception code in C has discarded.
    """

    devices: Sequence[str]
    suite: Suite
    overrides: Overrides
    weights: str
    threads: int | None
    plan: Plan
    labels: Labels
    command: str
    retry_failed: bool
    again: bool
    away_s: float
    check: Callable[[], None]
    dry_run: bool = False  # ask which cases there are, and measure none


class Asked(NamedTuple):
    """A question to a kind of machine: about a group of cases, or with none, which cases it has."""

    kind: Kind
    device: str  # as the user has named it
    cases: Sequence[Case] = ()


def measure(
    address: str, folder: Path, wanted: Wanted, results: Results, say: Say
) -> dict[str, Refused]:
    """Measure until each kind of machine has all its cases; return refusals by kind, in words.

    A dry run ends when `results.offered` has the cases of each.

    Raises NotThereError if there is no scheduler, and UnavailableError if no worker has a device.
    """
    campaign = Campaign(wanted, results, say)
    lost_at: float | None = None
    while True:
        try:
            with connected(address, folder) as fleet:
                lost_at = None
                campaign.work(fleet)
                return campaign.refused
        except (LostError, NotThereError) as error:
            if lost_at is None:
                if isinstance(error, NotThereError) and not campaign.has_begun:
                    raise
                lost_at = time.monotonic()
                say(f"the scheduler at {address} is lost: waiting for the next one")
            elif time.monotonic() - lost_at > wanted.away_s:
                raise UsageError(
                    f"the scheduler at {address} was away for {duration(wanted.away_s)}",
                    "Finished rounds are saved. Start it, and run the same command again.",
                ) from None
            wanted.check()
            time.sleep(POLL_S)


class Campaign:
    """What has been asked of a fleet, and what is still open."""

    def __init__(self, wanted: Wanted, results: Results, say: Say) -> None:
        self._wanted, self._results, self._say = wanted, results, say
        self._numbers = itertools.count()
        self._open: dict[int, Asked] = {}
        self._idle: dict[int, list[int]] = {}  # losses and silent answers since the last record
        self._unread: set[int] = set()  # questions with a record that cannot be read here
        self._away: dict[Kind, float] = {}  # since when no worker is of the kind
        self._refused: dict[str, Refused] = {}
        self._elsewhere: dict[str, Refused] = {}  # by the device: an alias of another chip
        self._offered: set[str] = set()  # devices that a worker has, as the user has named them
        self.has_begun = False

    @property
    def refused(self) -> dict[str, Refused]:
        """The refusals, by worker in words. Without a device that another worker has."""
        nowhere = {d: each for d, each in self._elsewhere.items() if d not in self._offered}
        return {**{_in_words(device): each for device, each in nowhere.items()}, **self._refused}

    def work(self, fleet: Fleet) -> None:
        """Ask until nothing is open. Raises LostError, and UnavailableError as `measure`."""
        if not self.has_begun:
            self._open = dict(zip(self._numbers, self._kinds(fleet), strict=False))
            self.has_begun = True
        for number in list(self._open):
            self._give(fleet, number)
        looked_at = time.monotonic()
        while self._open:
            self._take_in(fleet)
            self._wanted.check()
            fleet.check_connected()
            if time.monotonic() - looked_at > LOOK_S:
                self._look(fleet)
                looked_at = time.monotonic()

    def _kinds(self, fleet: Fleet) -> list[Asked]:
        """Return the kinds of machines with the wanted devices. Raises UnavailableError."""
        deadline = time.monotonic() + START_S
        while True:
            there = fleet.kinds()
            names = {name: driver_name(name) for name in self._wanted.devices}
            has = {kind.device for kind in there}
            if not (missing := [name for name, driver in names.items() if driver not in has]):
                return [Asked(k, name) for name in names for k in there if k.device == names[name]]
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"no worker of the fleet has {some_of(missing)}; it has: "
                    f"{', '.join(sorted(has)) or 'none'}",
                    "Start `bench fleet worker --devices ...` on a machine that has it.",
                )
            self._wanted.check()
            time.sleep(POLL_S)

    def _give(self, fleet: Fleet, number: int) -> None:
        """Ask a question, with what is known by now."""
        asked, wanted = self._open[number], self._wanted
        if not asked.cases:
            offer = Offer(
                asked.device, wanted.suite, wanted.overrides, wanted.weights, wanted.threads
            )
            fleet.ask(number, asked.kind, offer)
            return
        machine = self._results.machines[asked.kind.environment_id]
        errand = Errand(
            asked.kind.device,
            asked.kind.environment_id,
            list(asked.cases),
            wanted.plan,
            self._results.name,
            wanted.command,
            machine.known(asked.cases),
            machine.retried(asked.cases),
            {c.case_id: g for c in asked.cases if (g := machine.generations.get(c.case_id, 0))},
            wanted.labels(machine.cases),
        )
        fleet.ask(number, asked.kind, errand)

    def _take_in(self, fleet: Fleet) -> None:
        """Take in the next message; wait POLL_S for it."""
        try:
            event = fleet.arrived.get(timeout=POLL_S)
        except queue.Empty:
            return
        if event.number not in self._open:
            return
        if isinstance(event, Said):
            self._heard(fleet, event)
        else:
            self._ended(fleet, event)

    def _heard(self, fleet: Fleet, said: Said) -> None:
        asked = self._open[said.number]
        try:
            sent = sent_of(said.text)
        except FormatError as error:
            what = f"its answer is not understood: {error}"
            self._refuse(said.number, Refused(what, "Install the same bench on both.", BAD_INPUT))
            return
        if isinstance(sent.body, Made):
            self._idle.pop(said.number, None)
            if not self._results.take(sent.body.record, sent.bench):
                self._unread.add(said.number)
        elif isinstance(sent.body, Offered) and not asked.cases:
            del self._open[said.number]
            self._begin(fleet, asked, sent.body)
        elif isinstance(sent.body, Waits):
            self._say(f"{_in_words(asked.device)}: {sent.body.message}")
        elif isinstance(sent.body, Refused) and sent.body.is_elsewhere and not asked.cases:
            del self._open[said.number]
            self._elsewhere.setdefault(asked.device, sent.body)
        elif isinstance(sent.body, Refused):
            version = msgspec.structs.replace(
                sent.body, message=f"{sent.body.message} (bench {sent.bench})"
            )
            self._refuse(said.number, version)

    def _begin(self, fleet: Fleet, asked: Asked, offered: Offered) -> None:
        """Open the store of a machine, and give its groups to workers."""
        here = offered.environment.environment_id
        if here != asked.kind.environment_id:
            self._refused[_in_words(asked.device)] = CHANGED
            return
        self._offered.add(asked.device)
        if here in self._results.offered:  # its device was named twice: as h100 and as cuda
            return
        self._results.offered[here] = offered
        for note in offered.notes:
            self._say(note)
        wanted = self._wanted
        if wanted.dry_run:
            return
        self._results.open(offered, retry_failed=wanted.retry_failed, again=wanted.again)
        begun = {next(self._numbers): asked._replace(cases=group) for group in offered.groups}
        self._open |= begun  # all of them first: the scheduler may be lost while they are given
        for number in begun:
            self._give(fleet, number)

    def _ended(self, fleet: Fleet, ended: Ended) -> None:
        """Close a question that was answered; ask again what has not been answered in full."""
        fleet.check_connected()
        asked = self._open[ended.number]
        fate = fleet.forget(ended.number)
        if asked.cases:
            machine = self._results.machines[asked.kind.environment_id]
            is_done = not any(machine.lacks(case, self._wanted.plan) for case in asked.cases)
            if is_done or (ended.number in self._unread and not fate.was_lost):
                del self._open[ended.number]
                return
        counts = self._idle.setdefault(ended.number, [0, 0])
        counts[fate.was_lost] += 1
        if counts[True] > MOST_LOSSES or counts[False] > MOST_SILENT:
            said = ": ".join(filter(None, [NO_ANSWER.message, fate.error]))
            self._refuse(ended.number, msgspec.structs.replace(NO_ANSWER, message=said))
            return
        self._give(fleet, ended.number)

    def _look(self, fleet: Fleet) -> None:
        """Give up what no worker can answer any more, for too long."""
        there, now = set(fleet.kinds()), time.monotonic()
        for number, asked in list(self._open.items()):
            if asked.kind in there:
                self._away.pop(asked.kind, None)
            elif asked.kind not in self._away:
                self._away[asked.kind] = now
                self._say(f"no worker with {asked.device} is left: waiting for one")
            elif now - self._away[asked.kind] > self._wanted.away_s:
                self._refuse(number, NO_WORKER)

    def _refuse(self, number: int, refused: Refused) -> None:
        self._refused.setdefault(_in_words(self._open.pop(number).device), refused)


def _in_words(device: str) -> str:
    return f"worker with {device}"
