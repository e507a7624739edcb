"""Networks that compute while others are timed: named, ended, and measured alone."""

import sys

import msgspec
import pytest
from support import runs
from support.runs import PLAN, REAL_RUN, Listener, fake, recorded

from bench.devices import clocks
from bench.devices.threads import Threads
from bench.harness.scheduler import runner, watch
from bench.harness.scheduler.case_round import CaseRound
from bench.records import Case, Measurement, Neighbour

NAMES = ("resnet50", "swin_t", "convnext_t")
CASES = [fake(name) for name in NAMES]
USED_S = 1e6  # CPU seconds between two readings: a share far above the limit
ONE = msgspec.structs.replace(PLAN, rounds=1)


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Run cases while the processes of some networks seem to compute: returns the new rounds.

    `restless` maps a network to the rounds in which its process uses USED_S between two readings.
    """
    jobs, used = {}, {}

    class Known(CaseRound):
        def __init__(self, job, child, *arguments):
            super().__init__(job, child, *arguments)
            jobs[child.pid] = job

    def cpu_seconds(pids):
        for pid in pids:
            job = jobs[pid]
            is_restless = job.round in measure_it.restless.get(job.case.model, ())
            used[pid] = used.get(pid, 0.0) + USED_S * is_restless
        return {pid: used[pid] for pid in pids}

    monkeypatch.setattr(runner, "CaseRound", Known)
    monkeypatch.setattr(watch.processes, "cpu_seconds", cpu_seconds)

    def measure_it(plan, again=False, **restless):
        measure_it.restless = restless
        measure_it.listener = Listener()
        known = getattr(measure_it, "known", 0)
        store, failures = runs.measure(tmp_path, CASES, plan, measure_it.listener, again=again)
        assert failures == []
        rounds = [each for each in store.records if isinstance(each, Measurement)]
        measure_it.known = len(rounds)
        return rounds[known:]

    return measure_it


def told(rounds):
    """What these tests look at, of each round."""
    return [
        (r.case.model, r.round, r.sitting, [each.name for each in r.disturbed_by], r.stopped_by)
        for r in rounds
    ]


def test_the_restless_network_is_measured_alone_and_the_round_it_disturbed_is_repeated(measure):
    rounds = measure(ONE, swin_t=[1])
    assert told(rounds) == [
        ("resnet50", 1, 1, ["swin_t"], "round"),
        ("convnext_t", 1, 1, [], "rounds"),
        ("swin_t", 1, 2, [], "rounds"),
        ("resnet50", 2, 3, [], "rounds"),
    ]
    (mark,) = rounds[0].disturbed_by
    assert mark == Neighbour(CASES[1].case_id, "swin_t", mark.share)
    assert [record.restless_share for record in rounds] == [0.0, 0.0, mark.share, 0.0]
    assert mark.share > 1
    assert all(sum(record.samples_s) >= PLAN.timed_s for record in rounds)


def test_a_restless_network_is_alone_in_later_rounds_and_in_later_runs(measure):
    first, later = measure(ONE, swin_t=[1]), measure(msgspec.structs.replace(PLAN, rounds=3))
    alone = [record for record in later if record.case.model == "swin_t"]
    others = [record for record in later if record not in alone]
    assert (len(alone), len(others)) == (2, 4)
    assert {record.sitting for record in alone}.isdisjoint(record.sitting for record in others)
    assert {record.restless_share for record in alone} == {first[2].restless_share}
    assert not any(record.disturbed_by or record.restless_share for record in others)


def test_a_run_that_ended_before_the_restless_network_was_measured_alone_knows_it(
    measure, tmp_path
):
    measure(ONE, swin_t=[1])
    path = tmp_path / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))  # the environment, and the round that was disturbed
    measure.known = 1
    rounds = measure(ONE, swin_t=[1])
    assert sorted(told(rounds)) == [
        ("convnext_t", 1, 1, [], "rounds"),
        ("resnet50", 2, 1, [], "rounds"),
        ("swin_t", 1, 2, [], "rounds"),
    ]


def test_a_repetition_that_is_disturbed_too_is_not_repeated(measure):
    rounds = measure(PLAN, swin_t=[1], convnext_t=[2])
    own = [record for record in rounds if record.case.model == "resnet50"]
    assert told(own) == [
        ("resnet50", 1, 1, ["swin_t"], "round"),
        ("resnet50", 2, 3, ["convnext_t"], "round"),
        ("resnet50", 3, 6, [], "rounds"),
    ]
    assert sum(record.case.model == "convnext_t" for record in rounds) == 2


def test_networks_that_all_compute_out_of_turn_are_all_measured_alone(measure):
    rounds = measure(ONE, **dict.fromkeys(NAMES, range(1, 9)))
    assert told(rounds) == [
        ("resnet50", 1, 1, ["swin_t", "convnext_t"], "round"),
        ("swin_t", 1, 2, [], "rounds"),
        ("convnext_t", 1, 3, [], "rounds"),
        ("resnet50", 2, 4, [], "rounds"),
    ]


def test_again_forgets_who_was_restless(measure):
    measure(ONE, swin_t=[1])
    assert {(each.sitting, each.restless_share) for each in measure(ONE, again=True)} == {(1, 0.0)}


def test_the_samples_of_a_disturbed_round_are_no_earlier_samples(measure):
    *_, repeated = measure(ONE, swin_t=[1])
    shown = [each[2:] for each in measure.listener.events if each[:2] == ("sampled", "resnet50")]
    assert {earlier for earlier, _ in shown} == {0}
    assert shown[-1][1] == len(repeated.samples_s)


NET = """
import threading, time
import torch

def spin():
    while True:
        pass

class Net(torch.nn.Module):
    def __init__(self, spins):
        super().__init__()
        self.fc = torch.nn.Linear(3, 10)
        self.spins = spins

    def forward(self, x):
        if self.spins:
            self.spins = False
            threading.Thread(target=spin, daemon=True).start()
        time.sleep(0.2)
        return self.fc(x.mean((2, 3)))

def calm():
    return Net(False)

def spinning():
    return Net(True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes computed")
@pytest.mark.usefixtures("without_timm")
def test_a_real_network_that_leaves_a_thread_spinning_is_named(bench, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    models = ("--models", "net.py:calm,net.py:spinning", "--resolution", "32")
    done = bench(*REAL_RUN, "--device", "cpu", *models)
    assert done.returncode == 0
    rounds = [(r["case"]["model"], r) for r in recorded(tmp_path, "measurement")]
    calm = [each for model, each in rounds if "calm" in model]
    (spinning,) = (each for model, each in rounds if "spinning" in model)
    assert [bool(each["disturbed_by"]) for each in calm] == [True, False]
    (mark,) = calm[0]["disturbed_by"]
    assert mark["name"] == "net.py:spinning 32²"
    assert mark["share"] == spinning["restless_share"] > 0.1
    assert spinning["sitting"] not in [each["sitting"] for each in calm]
    assert "net.py:spinning 32² is measured alone" in " ".join(
        done.stderr.split() + done.stdout.split()
    )
    said = " ".join(bench("explain", "net.py:calm", "--in", "out").stdout.split())
    assert "a disturbed round with a median of 20" in said
    assert "the network net.py:spinning 32² used" in said
    said = " ".join(bench("explain", "net.py:spinning", "--in", "out").stdout.split())
    assert "it was measured alone, as it used" in said


class Waiting:
    """A child that waits, or the one that is timed."""

    def __init__(self, pid, backend):
        self.pid, self.case = pid, Case("resnet50", "plain", backend)


@pytest.mark.parametrize(
    ("backend", "spins_for", "waited"),
    [("onnxruntime", 3, 4), ("onnxruntime", 0, 1), ("eager", 3, 0)],
)
def test_a_block_begins_when_the_threads_of_waiting_runtimes_are_quiet(
    monkeypatch, backend, spins_for, waited
):
    steps = []

    def read_threads(process):
        assert process == 2
        return Threads({1: 0.1, 2: 0.001 * min(len(steps), spins_for)}, True)

    monkeypatch.setattr(watch, "read_threads", read_threads)
    monkeypatch.setattr(watch.time, "sleep", steps.append)
    timed, other = Waiting(1, "onnxruntime"), Waiting(2, backend)
    watch.Watch([]).await_quiet(timed, [timed, other])
    assert steps == [watch.STEP_S] * waited


def test_a_runtime_that_is_never_quiet_is_waited_for_only_so_long(monkeypatch):
    used = iter(range(1000))
    monkeypatch.setattr(watch, "read_threads", lambda process: Threads({1: next(used)}, True))
    timed, other = Waiting(1, "eager"), Waiting(2, "onnxruntime")
    began = clocks.monotonic()
    watch.Watch([]).await_quiet(timed, [timed, other])
    assert watch.LONGEST_S <= clocks.monotonic() - began < 20 * watch.LONGEST_S
