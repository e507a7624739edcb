"""`bench selfcheck`: tests the harness on this machine against known answers.

Each part is an ordinary run with its own store below `OUT/<chip>/selfcheck/`. So the same command
resumes an interrupted part and skips a finished one. `findings.py` computes the results of the
parts, `page.py` writes them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.analysis.disturbance import undisturbed
from bench.analysis.reasons import Doubt
from bench.backends import BACKENDS
from bench.devices import Driver, select
from bench.diagnostics.selfcheck import faults
from bench.diagnostics.selfcheck.faults import FaultResult
from bench.errors import UsageError, starting
from bench.harness.plan import PRESETS, Plan
from bench.harness.scheduler import runner
from bench.harness.scheduler.environment import describe
from bench.harness.scheduler.listener import Listener
from bench.harness.stopping_rule import is_done
from bench.process import command_for_module
from bench.records import Case, Chip, Failure, Measurement, Source
from bench.storage.history import history
from bench.storage.pages import write_pages
from bench.storage.results import Store

PLANTS = (0, 5, 10)  # per cent that a network is slowed down by
REPLICAS = ("a", "b")
POOL_ROUNDS = 16
SEPARATE_ROUNDS = 6
SEPARATE_RUNS = 6
UNLIKE_RUNS = 8
UNLIKE = ("resnet50", "convnext_t")
CLEAN_RUNS = 20
FIDELITY_S = 40.0
PREFIX = "self/"
LOOPED = ("eager", "cudagraph")  # backends with a bare loop in `fidelity`


class Parts(NamedTuple):
    """What was measured.

    pool: rounds of copies of ResNet18, some slowed down by a known share.
    same: per separate run, rounds of two copies of ResNet50.
    unlike: per separate run, rounds of the two networks of UNLIKE.
    fidelity: per backend, pairs of seconds per call, timed by the harness and by a bare loop.
    faults: the verdicts under known faults.
    """

    pool: list[Measurement]
    same: list[list[Measurement]]
    unlike: list[list[Measurement]]
    fidelity: dict[str, list[tuple[float, float]]]
    faults: list[FaultResult]


class Setting(NamedTuple):
    """The device and folder of a selfcheck, and a function that prints a line of progress."""

    driver: Driver
    chip: Chip
    folder: Path
    say: Callable[[str], None]


class RoundLog(Listener):
    """A listener that prints a line when a round of cases ends, and no line for a block."""

    def __init__(self, part: str, say: Callable[[str], None]) -> None:
        self._part = part
        self._say = say

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """Print how many cases are left to measure."""
        self._say(f"{self._part}: {len(todo)} cases to measure" if todo else f"{self._part}: done")

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """Print a line for the first case of a round."""
        if case.model.endswith("+0/a") or not case.model.startswith(PREFIX):
            self._say(f"{self._part}: {case.model} round {rounds[-1].round}")

    def failed(self, record: Failure) -> None:
        """Print why the case failed."""
        self._say(f"{self._part}: {record.case.model} failed at {record.stage}: {record.message}")


def measure(setting: Setting, *, full: bool) -> Parts:
    """Measure the parts that are not on record yet, and return all parts.

    Separate runs are measured only with `full`; otherwise only recorded runs are returned. Raises
    UsageError if a part cannot be measured.
    """
    pool = _pool(setting)
    separate = [
        [_same(setting, number, full) for number in range(1, SEPARATE_RUNS + 1)],
        [_unlike(setting, number, full) for number in range(1, UNLIKE_RUNS + 1)],
    ]
    clean = pool[0]
    found = [_hog(setting), *faults.scripted(clean), _not_a_number(setting), _clean()]
    pairs = _fidelity(setting)
    same, unlike = ([rounds for rounds in runs if rounds] for runs in separate)
    return Parts(pool, same, unlike, pairs, found)


def planted(network: str, percent: int, replica: str, chip: Chip) -> Case:
    """Return the case of a copy of `network` that is `percent` % slower.

    Replicas "a" and "b" differ in their name only.
    """
    model = f"{PREFIX}{network}+{percent}/{replica}"
    return Case(model, "plain", device=chip.device, threads=chip.threads)


def _pool(setting: Setting) -> list[Measurement]:
    """Measure two replicas of ResNet18 for each slow-down of PLANTS, all in turns."""
    plan = _plan(POOL_ROUNDS, timed_s=0.8, block_s=0.2, warmup_s=0.2)
    cases = [
        planted("resnet18", percent, replica, setting.chip)
        for percent in PLANTS
        for replica in REPLICAS
    ]
    return _measure(setting, "pool", cases, plan)


def _same(setting: Setting, number: int, full: bool) -> list[Measurement]:
    """Measure two replicas of ResNet50 in one separate run; their true ratio is 1."""
    cases = [planted("resnet50", 0, replica, setting.chip) for replica in REPLICAS]
    return _separate(setting, f"same-{number}", cases, full)


def _unlike(setting: Setting, number: int, full: bool) -> list[Measurement]:
    """Measure the two networks of UNLIKE in one separate run."""
    chip = setting.chip
    cases = [Case(model, "plain", device=chip.device, threads=chip.threads) for model in UNLIKE]
    return _separate(setting, f"unlike-{number}", cases, full)


def _separate(setting: Setting, part: str, cases: Sequence[Case], full: bool) -> list[Measurement]:
    """Measure one separate run. Without `full`, return its recorded rounds, or [] if incomplete."""
    plan = _plan(SEPARATE_ROUNDS)
    if not full:
        here = describe(setting.driver, setting.chip, "", "").environment_id
        records = Store(setting.folder / part).records
        if not all(is_done(plan, history(records, case, here).rounds) for case in cases):
            return []
    return _measure(setting, part, cases, plan)


def _plan(rounds: int, **changes: float) -> Plan:
    """Return the quick preset with exactly `rounds` rounds and without a steady loop."""
    return PRESETS["quick"].exactly(rounds, observe_s=0.0, **changes)


def _measure(setting: Setting, part: str, cases: Sequence[Case], plan: Plan) -> list[Measurement]:
    """Measure `cases` into the store of `part`; return all rounds in that store.

    Raises UsageError if a case fails, except in the part `nan`, where it must fail.
    """
    environment = describe(setting.driver, setting.chip, runner.new_run_id(), "bench selfcheck")
    results = Store(setting.folder / part)
    results.open()
    listener = RoundLog(part, setting.say)
    with contextlib.closing(results):
        failures = runner.run(
            cases, plan, results, environment, listener, retry_failed=True, sources=_sources(cases)
        )
        here = environment.environment_id
        rounds = [undisturbed(results.history(case, here).rounds) for case in cases]
    if failures and not part.startswith("nan"):
        raise UsageError(
            f"selfcheck cannot measure {failures[0].case.model}: {failures[0].message}",
            "Run `bench doctor` to find out why. Then run `bench selfcheck` again: it resumes.",
        )
    return [record for each in rounds for record in each]


def _sources(cases: Sequence[Case]) -> dict[str, Source]:
    """Return where a child finds each copy: `self/resnet18+5/a` is `plant.resnet18_5`."""
    names = [case.model for case in cases if case.model.startswith(PREFIX)]
    factories = {name: name.split("/")[1].replace("+", "_") for name in names}
    module = "bench.diagnostics.selfcheck.plant"
    return {name: Source(module=module, factory=made) for name, made in factories.items()}


def _hog(setting: Setting) -> FaultResult:
    """Measure while other processes keep our CPUs busy; the fake device simulates them."""
    with tempfile.TemporaryDirectory() as folder:
        aside = setting._replace(folder=Path(folder))
        if not setting.driver.runs_torch:
            case = Case("fault/hog", "plain", device="fake")
            (record,) = _measure(aside, "hog", [case], _plan(1))
            return faults.judge_fault("CPU hog", "scripted", record, Doubt.OTHERS)
        case = planted("resnet18", 0, "a", setting.chip)
        with faults.Hog():
            (record,) = _measure(aside, "hog", [case], _plan(1))
    return faults.judge_fault("CPU hog", "real, on the same CPUs", record, Doubt.OTHERS)


def _not_a_number(setting: Setting) -> FaultResult:
    """Check that an output of NaN on the fake device gives a Failure and no measurement."""
    failed: list[Failure] = []
    with tempfile.TemporaryDirectory() as folder:
        aside = on_fake(Path(folder), setting.say)
        records = _measure(aside, "nan", [Case("fault/nan", "plain", device="fake")], _plan(1))
        stored = Store(Path(folder) / "nan").records
        failed = [record for record in stored if isinstance(record, Failure)]
    passed = not records and len(failed) == 1 and failed[0].stage == "check"
    text = f"Failure at {failed[0].stage}" if failed else "no Failure"
    return FaultResult("NaN output", "fake device", "a Failure", text, passed)


def _clean() -> FaultResult:
    """Check that CLEAN_RUNS runs without a fault on the fake device are all VALID."""
    valid = 0
    for _ in range(CLEAN_RUNS):
        with tempfile.TemporaryDirectory() as folder:
            aside = on_fake(Path(folder), lambda _: None)
            case = Case("resnet50", "plain", device="fake")
            (record,) = _measure(aside, "clean", [case], _plan(1))
        valid += faults.judge_fault("none", "", record, None).passed
    text = f"{valid} of {CLEAN_RUNS} VALID"
    return FaultResult(
        "none", "runs of the fake device without a fault", "VALID", text, valid == CLEAN_RUNS
    )


def on_fake(folder: Path, say: Callable[[str], None]) -> Setting:
    """Return a setting for the fake device instead of the tested device."""
    return Setting(*select("fake"), folder, say)


def _fidelity(setting: Setting) -> dict[str, list[tuple[float, float]]]:
    """Return, per backend, pairs of seconds per call: by the harness and by a bare loop.

    Returns {} for the fake device, which has no real calls.
    """
    if not setting.driver.runs_torch:
        return {}
    torch_device = setting.driver.torch_device
    available = [name for name in LOOPED if not BACKENDS[name].missing(torch_device)]
    return {backend: _pairs(setting, backend) for backend in available}


def _pairs(setting: Setting, backend: str) -> list[tuple[float, float]]:
    """Return the pairs of one backend; time them in a process of their own if not on record.

    Raises UsageError if that process fails.
    """
    here = describe(setting.driver, setting.chip, "", "").environment_id
    path = setting.folder / f"fidelity-{backend}-{here}.json"
    if not path.exists():
        setting.say(f"fidelity: timing by the harness and by a bare loop, backend {backend}")
        words = [setting.chip.device, str(setting.chip.threads), str(FIDELITY_S), backend]
        command = command_for_module("bench.diagnostics.selfcheck.fidelity", *words)
        with starting("the bare loop"):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2]
            raise UsageError(f"the bare loop failed: {last}", "Run `bench doctor` to find out why.")
        write_pages(setting.folder, {path.name: done.stdout.encode()})
    return [(float(harness), float(loop)) for harness, loop in json.loads(path.read_text())]
