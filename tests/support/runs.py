"""Runs on the fake device in this process, and the records that a command wrote."""

import contextlib
import json
from pathlib import Path

import msgspec

from bench.harness.plan import Plan
from bench.harness.scheduler.runner import run
from bench.records import Case
from bench.storage.results import Store
from support.records import ENVIRONMENT, FAKE_CHIP

PLAN = Plan(
    preset="quick",
    rounds=2,
    timed_s=0.5,
    block_s=0.1,
    warmup_s=0.05,
    budget_s=None,
    slow_budget_s=None,
    deadline_s=20.0,
)
ON_FAKE = msgspec.structs.replace(ENVIRONMENT, chip=msgspec.structs.replace(FAKE_CHIP, threads=1))
# Words of a short run of real networks; a test adds --models and --resolution.
REAL_RUN = ("run", "--batch", "1", "--rounds", "1", "--preset", "quick", "--threads", "1")
REAL_RUN += ("--out", "out")


class Listener:
    """Stores the events of a run, in order."""

    def __init__(self):
        self.events = []

    def started(self, todo, done):
        self.events.append(("started", len(todo), len(done)))

    def preparing(self, case):
        pass

    def warmed(self, case, iteration_s):
        self.events.append(("warmed", case.name, iteration_s))

    def sampled(self, case, earlier, samples):
        self.events.append(("sampled", case.name, sum(map(len, earlier)), len(samples)))

    def measured(self, case, rounds):
        self.events.append(("measured", case.name, len(rounds)))

    def failed(self, record):
        self.events.append(("failed", record.case.name))


def fake(model, form="plain", batch=1):
    """Return a case on the fake device."""
    return Case(model, form, batch=batch, device="fake")


def measure(folder, cases, plan, listener, **options):
    """Run cases into the store of `folder`; return the store and the failures."""
    store = Store(folder)
    store.open()
    with contextlib.closing(store):
        return store, run(cases, plan, store, ON_FAKE, listener, **options)


def recorded(folder: Path, kind: str) -> list[dict]:
    """Return the records of type `kind` that a command wrote below `folder`, as dictionaries."""
    (path,) = folder.glob("out/*/results.jsonl")
    every = map(json.loads, path.read_text().splitlines())
    return [record for record in every if record["type"] == kind]
