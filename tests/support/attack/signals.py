"""Signals at random moments of real runs, which then resume: nothing is lost, doubled or wrong."""

import collections
import contextlib
import itertools
import json
import re
import signal
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from hypothesis import strategies as st

from support.attack.network_judge import DISTURBED, LONG_S, verdict_of
from support.attack.plain_reader import lines_of, record_of
from support.sweep import Sweep, heed_signals

TEMPLATE = "bench.harness.worker.template"  # in the command line of a template
ROUNDS = 2
REAL = ("--device", "cpu", "--models", "timm/test_resnet.r160_in1k,timm/test_byobnet.r160_in1k")
REAL += ("--resolution", "64", "--batch", "1", "--threads", "1", "--preset", "quick")
REAL += ("--rounds", str(ROUNDS), "--retry-failed", "--json")
ACKNOWLEDGED = re.compile(r"(?:round|done after) (\d+)\b.*(?:left|\))")
STOPPED_S = 0.8
RUN_S = 300.0
LONGEST_S = 20.0  # the moment of a signal, at most so long after the start
ADVICE = "force-reinstall"


class Signal(NamedTuple):
    """A signal to processes of a run, `after` so large a part of its time; 1 is its usual end."""

    name: str
    to: str
    after: float

    @property
    def kind(self) -> str:
        return f"{self.name} to {self.to}"


PROCESSES = ("run", "group", "template", "children")
NAMES = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP")


def signals():
    """Return a strategy for signals; processes that compute are stopped most often."""
    moments = st.integers(2, 100).map(lambda part: part / 100)
    any_of = st.builds(Signal, st.sampled_from(NAMES), st.sampled_from(PROCESSES), moments)
    stop = st.builds(Signal, st.just("SIGSTOP"), st.just("children"), moments)
    return st.one_of(any_of, any_of, any_of, stop)


class Sitting:
    """Runs that get signals until they are complete; then a new run begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._took_s = LONGEST_S
        self._sweep = self._new()

    def _new(self) -> Sweep:
        return Sweep(self._folder / str(next(self._numbers)), *REAL)

    def one(self, attack: Signal) -> list[tuple[str, str]]:
        """Start or resume a run and send it a signal; return what is wrong after its end."""
        before = self._sweep.data()
        run = self._sweep.start(start_new_session=True, preexec_fn=heed_signals)
        began = time.monotonic()
        with contextlib.suppress(TimeoutError, psutil.Error, ProcessLookupError):
            _wait(run, attack.after * self._took_s)
            _send(attack, run)
        code = run.wait(RUN_S)
        self._sweep.assert_nothing_runs()
        found = _after(self._sweep, before, code, attack)
        if code == 0:
            self._took_s = time.monotonic() - began
            found += complete(self._sweep, attack)
            self._sweep = self._new()
        return found

    def finish(self) -> list[tuple[str, str]]:
        """Resume the last run without a signal; return what is wrong."""
        if not self._sweep.data():
            return []
        before, code = self._sweep.data(), self._sweep.finish(RUN_S)
        found = _after(self._sweep, before, code, None)
        if code:
            return [*found, ("lost", f"the run does not resume: exit code {code}")]
        return [*found, *complete(self._sweep, None)]


def _wait(run, seconds):
    deadline = time.monotonic() + seconds
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def _send(attack, run):
    """Send the signal; a process that is stopped continues after STOPPED_S."""
    number = signal.Signals[attack.name]
    processes = _targets(attack.to, run)
    for process in processes:
        process.send_signal(number)
    if number == signal.SIGSTOP:
        time.sleep(STOPPED_S)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.resume()


def _targets(name, run):
    """Return the processes that get the signal; wait until there is one."""
    parent = psutil.Process(run.pid)
    if name == "run":
        return [parent]
    while run.poll() is None:
        below = parent.children(recursive=True)
        templates = [each for each in parent.children() if is_template(each)]
        found = [each for process in templates for each in process.children()]
        wanted = {"group": [parent, *below], "template": templates, "children": found}[name]
        if wanted:
            return wanted
        time.sleep(0.01)
    return []


def is_template(process: psutil.Process) -> bool:
    """Whether a process is a template, or a child that was forked from one."""
    return TEMPLATE in " ".join(process.cmdline())


def _after(sweep, before, code, attack):
    """What is wrong after the end of a run."""
    said, data = sweep.said(), sweep.data()
    whole = data[: data.rfind(b"\n") + 1]
    found = []
    if not whole.startswith(before[: before.rfind(b"\n") + 1]):
        found.append(("lost", "a record that was on the disk"))
    if "Traceback" in said:
        found.append(("traceback", said[said.index("Traceback") :][-300:]))
    if ADVICE in said:
        found.append(("wrong", "a signal is called a broken installation"))
    if attack and code in (130, 2, 3):
        found.append(("refused", f"exit code {code}"))
    elif attack and code > 1:
        found.append(("wrong", f"exit code {code}: {said[-200:]!r}"))
    new = (
        [record_of(line) for line in lines_of(whole[len(before) :])]
        if len(whole) > len(before)
        else []
    )
    rounds = sum(r is not None and r["type"] == "measurement" for r in new)
    told = sum(ACKNOWLEDGED.search(line) is not None for line in said.splitlines())
    if told > rounds:
        found.append(("lost", f"{told} rounds were told of, {rounds} are on record"))
    return found


def complete(sweep: Sweep, attack: Signal | None) -> list[tuple[str, str]]:
    """What is wrong with a run that ended with exit code 0."""
    outcome = json.loads(sweep.said().splitlines()[-1])
    records = [record_of(line) for line in lines_of(sweep.data())]
    found = [("lost", "a line that is no record")] if None in records else []
    rounds = [r for r in records if r and r["type"] == "measurement"]
    keys = collections.Counter((r["case_id"], r["round"]) for r in rounds)
    found += [("doubled", f"round {key}") for key, count in keys.items() if count > 1]
    for case in outcome:
        own = [r for r in rounds if r["case_id"] == case["case_id"]]
        if sorted(r["round"] for r in own) != list(range(1, ROUNDS + 1)):
            found.append(("lost", f"rounds {[r['round'] for r in own]}"))
        samples = [sample for r in own for sample in r["samples_s"]]
        if len(samples) != case["samples"]:
            found.append(("lost", f"{case['samples']} samples in JSON, {len(samples)} on record"))
        if verdict_of(case) in ("VALID", DISTURBED) and max(samples, default=0.0) > LONG_S:
            found.append(("wrong", f"{verdict_of(case)} with a call of {max(samples):.2g} s"))
    return found
