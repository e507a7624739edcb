"""Faults of a network's process and of its template, all of them really caused."""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import random
import resource
import secrets
import socket
import threading
import time
import tracemalloc
from pathlib import Path

import msgspec
import psutil
import pytest
from support import runs

from bench.analysis.reasons import Doubt
from bench.analysis.verdict import Machine, judge, quiet_of
from bench.devices import DEVICES
from bench.errors import UsageError
from bench.harness.protocol.channel import MAX_LINE_BYTES, TAIL_BYTES, OutputPipe, wait_for
from bench.harness.scheduler import runner
from bench.harness.scheduler.child import TemplateDiedError
from bench.harness.scheduler.runner import run
from bench.harness.scheduler.template import PROGRAM, Template
from bench.harness.worker import template
from bench.records import Case, Failure, Measurement
from bench.storage.results import Store

PLAN = msgspec.structs.replace(runs.PLAN, rounds=1, deadline_s=2.0)
LATE_S = 5.0  # a failure is recorded at most this long after its deadline
KILLS_QUICK, KILLS_FULL = 2, 50


class Watch:
    """A listener that keeps the longest time between two events."""

    def __init__(self):
        self.last = time.monotonic()
        self.longest_s = 0.0

    def _happened(self, *_):
        now = time.monotonic()
        self.longest_s, self.last = max(self.longest_s, now - self.last), now

    started = preparing = warmed = sampled = measured = failed = _happened


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """A function (model names, plan) -> records, on the fake device.

    At the end, the fixture asserts that no process is left.
    """
    mark = f"BENCH_TEST_{secrets.token_hex(8)}"
    monkeypatch.setenv(mark, "1")

    def call(models, plan=PLAN):
        call.watch = Watch()
        call.store = Store(tmp_path)
        call.store.open()
        with contextlib.closing(call.store):
            cases = [Case(model, "plain", device="fake") for model in models]
            run(cases, plan, call.store, runs.ON_FAKE, call.watch)
        return call.store.records

    call.store = None
    yield call
    assert left_over(mark) == []


def left_over(mark):
    """Return the processes with `mark` in their environment, after up to 2 s for them to end."""
    for _ in range(20):
        left = [
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/environ")
            if int(path.parent.name) != os.getpid() and mark in _content(path)
        ]
        if not left:
            break
        time.sleep(0.1)
    return left


def _content(path):
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def failures(records):
    return {r.case.model.removeprefix("fault/"): r for r in records if isinstance(r, Failure)}


def measured(records):
    return [(r.case.model, r.round) for r in records if isinstance(r, Measurement)]


ENDS = {
    "raise": ("RuntimeError", "scripted fault"),
    "leave": ("SystemExit", "3"),
    "segfault": ("Killed", "SIGSEGV"),
    "exit": ("Exited", "exit code 7"),
    "desert": ("Exited", "exit code 7"),
    "exhaust": ("OutOfMemory", ""),
    "garble": ("Protocol", "no message came"),
    "half": ("Protocol", "no message came"),
}
SLOW_ENDS = {
    "hang": ("Timeout", "no answer within 2 s"),
    "spin": ("Timeout", "no answer within 2 s"),
    "hold": ("Timeout", "no answer within 2 s"),
    "stubborn": ("Timeout", "no answer within 2 s"),
    "mute": ("Protocol", "closed its channel, and did not end"),
}


def check_ends(measure, ends):
    """Measure networks of these faults, and two sound networks first and in the middle."""
    kinds = [f"fault/{kind}" for kind in ends]
    half = len(kinds) // 2
    records = measure(["swin_t", *kinds[:half], "resnet50", *kinds[half:]])
    assert measured(records) == [("swin_t", 1), ("resnet50", 1)]
    found = failures(records)
    for kind, (error, message) in ends.items():
        assert (found[kind].stage, found[kind].error) == ("build", error), found[kind]
        assert message in found[kind].message
    assert measure.watch.longest_s < PLAN.deadline_s + LATE_S


def test_a_process_that_ends_early_is_a_failure_and_the_run_continues(measure):
    check_ends(measure, ENDS)


@pytest.mark.faults
def test_a_process_that_does_not_end_is_killed_at_its_deadline(measure):
    check_ends(measure, SLOW_ENDS)


def test_a_process_that_holds_the_interpreter_is_killed_at_its_deadline(measure):
    found = failures(measure(["fault/hold"], msgspec.structs.replace(PLAN, deadline_s=1.0)))
    assert (found["hold"].stage, found["hold"].error) == ("build", "Timeout")


def test_a_case_killed_by_the_kernel_is_measured_alone_before_it_fails(measure):
    records = measure(["resnet50", "fault/killed", "swin_t"])
    (failed,) = failures(records).values()
    assert (failed.stage, failed.error) == ("build", "Killed")
    assert "SIGKILL" in failed.message
    assert measured(records) == [("resnet50", 1), ("swin_t", 1)]
    assert "there was room for 1 of 3 cases at once" in records[1].warnings[0]


def test_with_few_file_descriptors_cases_are_measured_in_waves(measure):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    models = ["resnet50", "swin_t", "convnext_t", "deit_s", "fault/raise"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, hard))
    try:
        records = measure(models, msgspec.structs.replace(PLAN, rounds=2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(measured(records)) == sorted((m, n) for m in models[:-1] for n in (1, 2))
    assert [failed.error for failed in failures(records).values()] == ["RuntimeError"]


def test_a_case_that_cannot_be_forked_is_measured_in_the_next_wave(measure, monkeypatch):
    request, refused = Template._request, []

    def few(self, command, outputs, *files):
        if command == b"fork" and len(self._children) == 2 and not refused:
            refused.append(command)
            return -errno.EAGAIN
        return request(self, command, outputs, *files)

    monkeypatch.setattr(Template, "_request", few)
    records = measure(["resnet50", "swin_t", "convnext_t"])
    assert refused
    assert [model for model, _ in measured(records)] == ["resnet50", "swin_t", "convnext_t"]
    assert failures(records) == {}
    assert "there was room for 2 of 3 cases at once" in records[1].warnings[0]


def test_a_template_that_cannot_fork_returns_the_error_and_continues(monkeypatch):
    def refused():
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    ends = [os.dup(2), os.dup(2)]
    assert template._fork(DEVICES["fake"], None, *ends) == -errno.EAGAIN
    for end in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_a_channel_with_a_descriptor_above_1023_works():
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000) if hard > 3000 else hard, hard))
    high = fcntl.fcntl(ours.fileno(), fcntl.F_DUPFD, 1500)  # `select` fails above 1,023
    try:
        with ours, theirs, socket.socket(fileno=high) as far:
            output = OutputPipe(reading)
            theirs.send(b"x")
            wait_for(far, [output], 1.0)
            far.recv(1)
            with pytest.raises(TimeoutError):
                wait_for(far, [output], 0.05)
            output.close()
    finally:
        os.close(writing)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


STAGES = ("start", "build", "fuse", "load", "first", "check", "warmup", "calibrate", "timed")
STAGES += ("events",)


def test_a_failure_names_the_stage_in_which_it_happened(measure):
    kinds = [f"{kind}/{stage}" for kind, stage in itertools.product(("raise", "exit"), STAGES)]
    records = measure([*(f"fault/{kind}" for kind in kinds), "resnet50"])
    assert {kind: each.stage for kind, each in failures(records).items()} == {
        kind: kind.partition("/")[2] for kind in kinds
    }
    assert measured(records) == [("resnet50", 1)]


@pytest.mark.parametrize(
    ("kind", "said"), [("raise", "RuntimeError: scripted"), ("exit", "Exited"), ("hang", "Timeout")]
)
def test_a_fault_in_the_steady_loop_loses_no_block(measure, kind, said):
    plan = msgspec.structs.replace(PLAN, observe_s=0.1)
    records = measure([f"fault/{kind}/observe", "resnet50"], plan)
    assert len(measured(records)) == 2
    assert f"the chip could not be observed: {said}" in records[1].warnings[0]


def test_garbage_on_stdout_and_stderr_is_ignored(measure):
    assert measured(measure(["fault/babble"])) == [("fault/babble", 1)]


def test_only_the_tail_of_a_flood_on_stderr_is_kept_in_memory(measure):
    with peak_bytes() as peak:
        (failed,) = failures(measure(["fault/flood"])).values()
    assert (failed.stage, failed.error) == ("build", "RuntimeError")
    assert failed.stderr_tail.endswith("the last words\n")
    assert len(failed.stderr_tail) == TAIL_BYTES
    assert peak[0] < 8 * 2**20


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(measure):
    with peak_bytes() as peak:
        (failed,) = failures(measure(["fault/long"])).values()
    assert (failed.stage, failed.error) == ("build", "Protocol")
    assert "a line of more than" in failed.message
    assert MAX_LINE_BYTES <= peak[0] < 2.5 * MAX_LINE_BYTES  # growing a buffer copies it


@contextlib.contextmanager
def peak_bytes():
    """Yield a list; after the block it holds the peak bytes that Python allocated in the block."""
    peak = []
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def test_a_process_that_writes_while_it_must_wait_does_not_stop_the_others(measure):
    """A thread of the network writes more than a pipe holds, repeatedly."""
    records = measure(["fault/chatter", "resnet50", "swin_t"])
    assert len(measured(records)) == 3


def test_processes_that_a_network_started_are_ended_with_it(measure):
    records = measure(["fault/litter", "fault/litter/timed", "fault/desert", "resnet50"])
    assert len(measured(records)) == 3  # the fixture asserts that no process is left
    assert failures(records)["desert"].error == "Exited"


class Killer(threading.Thread):
    """Kills templates at random moments until `kills` rounds have ended because of it.

    With `waits`, it waits for a new record between two kills. Killing a template that is being
    closed ends no round and does not count.
    """

    def __init__(self, measure, deaths, kills, *, longest_s, waits):
        super().__init__(daemon=True)
        self.measure, self.deaths, self.kills = measure, deaths, kills
        self.longest_s, self.waits = longest_s, waits
        self.random = random.Random(9)
        self.seen = set()

    def recorded_bytes(self):
        path = self.measure.store and self.measure.store.path
        return path.stat().st_size if path and path.exists() else 0

    def run(self):
        while len(self.deaths) < self.kills:
            template = self._new_template()
            time.sleep(self.random.uniform(0, self.longest_s))
            with contextlib.suppress(psutil.Error):
                template.kill()
            known = self.recorded_bytes()
            while self.waits and self.recorded_bytes() == known:
                time.sleep(0.005)
            if self.waits:
                self.seen.update(child.pid for child in psutil.Process().children())

    def _new_template(self):
        while True:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if child.pid not in self.seen and PROGRAM in " ".join(child.cmdline()):
                        self.seen.add(child.pid)
                        return child
            time.sleep(0.005)


@pytest.fixture
def deaths(monkeypatch):
    """A list of the rounds that ended because their template died."""
    ended = []
    run_round = runner.Scheduler._run_round

    def counted(self, cases):
        try:
            run_round(self, cases)
        except TemplateDiedError:
            ended.append(cases)
            raise

    monkeypatch.setattr(runner.Scheduler, "_run_round", counted)
    return ended


def check_killed_templates(measure, deaths, kills):
    models = ["resnet50", "swin_t", "fault/litter"]
    rounds = 3 * kills
    plan = msgspec.structs.replace(PLAN, rounds=rounds, pace_s=0.01, precision=None)
    Killer(measure, deaths, kills, longest_s=0.3, waits=True).start()
    records = measure(models, plan)
    assert len(deaths) == kills
    assert failures(records) == {}
    wanted = [(model, number) for model in models for number in range(1, rounds + 1)]
    assert sorted(measured(records)) == sorted(wanted)


def test_a_round_whose_template_is_killed_restarts_and_no_record_is_lost_or_doubled(
    measure, deaths
):
    check_killed_templates(measure, deaths, KILLS_QUICK)


@pytest.mark.faults
def test_templates_are_killed_at_many_random_moments(measure, deaths):
    check_killed_templates(measure, deaths, KILLS_FULL)


def test_the_run_ends_with_a_remedy_if_each_template_is_killed(measure, deaths):
    Killer(measure, deaths, 3, longest_s=0.0, waits=False).start()
    with pytest.raises(UsageError, match="killed 3 times"):
        measure(["resnet50"])
    assert len(deaths) == 3


@pytest.mark.parametrize(
    ("fault", "doubt", "level", "said"),
    [
        ("suspended", Doubt.SUSPENDED, "INVALID", "the machine was suspended for 30 s in block 2"),
        ("set_back", Doubt.SET, "SUSPECT", "the clock was set back by 60 min in block 2"),
    ],
)
def test_a_block_during_which_a_clock_jumped_is_marked(measure, fault, doubt, level, said):
    records = measure([f"fault/{fault}", "resnet50"])
    spoilt, sound = (record for record in records if isinstance(record, Measurement))
    assert spoilt.warnings == [said]
    assert [jump.block for jump in spoilt.conditions.jumps] == [2]
    verdict = judge(spoilt, Machine(quiet_of([spoilt, sound])))
    assert (verdict.level, [reason.doubt for reason in verdict.reasons]) == (level, [doubt])
    assert verdict.text == f"{level}: {said}"
    assert judge(sound, Machine(quiet_of([spoilt, sound]))).level == "VALID"
    assert all(0 < sample < 1 for sample in spoilt.samples_s)
    assert msgspec.json.decode(msgspec.json.encode(spoilt), type=Measurement) == spoilt


def test_a_stop_is_told_from_the_waits_of_a_host_whose_device_computes(measure):
    """As on a GPU whose driver sleeps until the queue is empty: most of each call is idle."""
    records = measure(["fault/stopped", "fault/asleep", "resnet50"])
    stopped, asleep, busy = (record for record in records if isinstance(record, Measurement))
    machine = Machine(quiet_of([stopped, asleep, busy]))
    assert judge(asleep, machine).text == judge(busy, machine).text == "VALID"
    said = "INVALID: the process stood still for 5.0 s in block 2"
    assert judge(stopped, machine).text == said
    assert stopped.conditions.idle_s[1] > max(stopped.samples_s) > 5.0
    assert min(asleep.conditions.idle_s) > 0.5 * sum(asleep.samples_s) / len(asleep.block_sizes)


def test_records_without_clock_jumps_are_read(measure):
    (record,) = (r for r in measure(["resnet50"]) if isinstance(r, Measurement))
    old = msgspec.to_builtins(record)
    del old["conditions"]["jumps"]
    assert msgspec.json.decode(json.dumps(old), type=Measurement).conditions.jumps == []


def test_a_clock_that_runs_backwards_gives_a_failure_and_no_duration(measure):
    records = measure(["fault/backwards", "resnet50"])
    (failed,) = failures(records).values()
    assert (failed.stage, failed.error) == ("timed", "ClockError")
    assert measured(records) == [("resnet50", 1)]


def test_a_run_with_failures_exits_with_1_and_lists_each_failure(bench):
    kinds = [*ENDS, "nan", "flood", "raise/warmup"]
    models = ",".join([*(f"fault/{kind}" for kind in kinds), "resnet50"])
    flags = ("--device", "fake", "--batch", "1", "--rounds", "1", "--out", "out")
    done = bench("run", "--models", models, *flags)
    assert done.returncode == 1, done.stderr
    table, _, reasons = done.stdout[done.stdout.rindex("latency (ms)") :].partition("\n\n")
    rows = {line.split()[0]: line for line in table.splitlines() if line.startswith("fault/")}
    stages = {"nan": "check", "raise/warmup": "warmup"}
    for kind in kinds:
        stage = stages.get(kind, "build")
        assert f"failed: {stage}" in rows[f"fault/{kind}"]
        assert f"fault/{kind} at batch 1 failed at {stage}: " in reasons
    assert "Traceback" not in done.stderr


NETS = '''"""Networks of a user, each with another fault."""

import ctypes
import os
import resource
import sys
import threading

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, spoil):
        super().__init__()
        self.convolution, self.spoil = nn.Conv2d(3, 4, 3), spoil

    def forward(self, images):
        return self.spoil(self.convolution(images).mean((2, 3)))


class Late(Net):
    """Correct for the first 12 calls (counting, checks), then faulty."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) if self.calls > 12 else self.convolution(images).mean((2, 3))


def exhaust(output):
    resource.setrlimit(resource.RLIMIT_AS, (2**36, 2**36))
    return torch.zeros(2**36)


def abort(output):
    print("out of ideas", file=sys.stderr)
    os.abort()


def raise_unprintable(output):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError
    raise Odd


def right():
    return Net(lambda output: output)


def nan():
    return Net(lambda output: output * float("nan"))


def infinite():
    return Net(lambda output: output / 0)


def too_many():
    return Net(lambda output: torch.cat([output, output]))


def no_tensor():
    return Net(lambda output: {"answer": output})


def large():
    return Net(exhaust)


def aborts():
    return Net(abort)


def odd():
    return Net(raise_unprintable)


def late():
    return Late(lambda output: ctypes.string_at(0))


def very_late():
    return Late(lambda output: sys.exit("had enough"))
'''
WRONG = {
    "nan": ("check", "CheckError", "output is not finite"),
    "infinite": ("check", "CheckError", "output is not finite"),
    "too_many": ("check", "CheckError", "output of shape (2, 4) for 1 images"),
    "no_tensor": ("check", "CheckError", "output is dict, not a tensor"),
    "large": ("check", "OutOfMemory", ""),
    "aborts": ("check", "Killed", "SIGABRT"),
    "odd": ("check", "Odd", "the message of the error raised RuntimeError"),
    "late": ("warmup", "Killed", "SIGSEGV"),
    "very_late": ("warmup", "SystemExit", "had enough"),
}


@pytest.mark.faults
def test_faulty_networks_of_a_user_are_failures_at_the_right_stage(bench, tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    models = ",".join(f"nets.py:{name}" for name in [*WRONG, "right"])
    flags = ("--batch", "1", "--resolution", "32", "--rounds", "1", "--preset", "quick")
    done = bench("run", "--models", models, *flags, "--threads", "1", "--out", "out")
    assert done.returncode == 1, done.stderr
    lines = next(tmp_path.glob("out/*/results.jsonl")).read_text().splitlines()
    found = {}
    for record in map(json.loads, lines):
        if record["type"] != "environment":
            found[record["case"]["model"].partition("#")[0].removeprefix("nets.py:")] = record
    assert found.pop("right")["type"] == "measurement"
    for name, (stage, error, message) in WRONG.items():
        assert (found[name]["stage"], found[name]["error"]) == (stage, error), found[name]
        assert message in found[name]["message"]
    assert found["aborts"]["stderr_tail"].startswith("out of ideas")
