"""A first contact on a simulated GPU: all lines pass, and each planted fault fails its own line."""

import contextlib
import json
import math
import os
import re
import sys
import time
import types

import msgspec
import pytest
from support.fake_gpu import FakeInstruments
from support.records import CHIP, ENVIRONMENT, GPU, OBSERVED, QUIET, TAKEN, measurement
from support.traces import encoded, event, mark

from bench import devices
from bench.analysis.profile import trace
from bench.analysis.profile.recorded import ProfileHistory
from bench.backends import BACKENDS
from bench.devices import DEVICES
from bench.devices.precision import PRECISIONS
from bench.diagnostics.doctor import Finding
from bench.diagnostics.hardware import (
    call,
    first_contact,
    measure,
    met,
    page,
    runs,
    spread,
    steps,
    timing,
)
from bench.diagnostics.hardware.call import CALL_S, Call, TimeOverError
from bench.diagnostics.hardware.line import Line, all_pass, impossible
from bench.diagnostics.hardware.recorded import waiting
from bench.diagnostics.hardware.runs import Means
from bench.errors import UnavailableError
from bench.process import command_for_code
from bench.records import Failure, Waterfall
from bench.storage.history import History
from bench.storage.pages import write_pages

CHIP_OF_GPU = msgspec.structs.replace(GPU, facts={"max_clock_mhz": 1980})
STATE = {"compute_mode": "default", "clock_mhz": 345, "foreign_processes": 0, "persistence": None}
FINDINGS = [
    Finding("ok", "torch", "2.6"),
    Finding("lack", "device orin", "no Jetson Orin here"),
    Finding("lack", "backend compile", "needs a C++ compiler"),
    Finding("ok", f"device {GPU.device}", "Test GPU"),
]
LACK = Finding("lack", f"torch on {GPU.device}", "convolutions are wrong")


def profiled(residual=0.0, plain_s=(0.01,) * 12):
    terms = Waterfall(0.01, 0.006, 0.003 - residual, 0.001, residual, 0.0, 0.0)
    rounds = [types.SimpleNamespace(plain_samples_s=plain_s)]
    profile = types.SimpleNamespace(waterfall=terms)
    return types.SimpleNamespace(failure=None, profile=profile, rounds=rounds)


def rounds_of(cases, broken=()):
    for case in cases:
        failed = Failure(
            run_id="run",
            case_id=case.case_id,
            case=case,
            environment_id="env",
            round=1,
            stage="check",
            error="CheckError",
            message="output differs",
        )
        is_broken = case.model in broken
        yield History([] if is_broken else [measurement(case)], failed if is_broken else None)


class FakeClock:
    """A clock that only work moves. Work ends early where the alarm is due."""

    def __init__(self, check_s=4.0, run_s=20.0):
        self.check_s, self.run_s = check_s, run_s
        self.now_s = 0.0
        self.alarm_s = math.inf

    def __call__(self):
        return self.now_s

    def work(self, seconds):
        until_s, due_s = self.now_s + seconds, self.alarm_s
        self.now_s = min(until_s, due_s)
        if until_s > due_s:
            raise TimeOverError


class FakeCall(Call):
    """A call whose alarm is that of its FakeClock."""

    @contextlib.contextmanager
    def stopping(self, most_s):
        self.now.alarm_s = self.now() + min(most_s, self.left_s)
        try:
            yield
        finally:
            self.now.alarm_s = math.inf


def means(fault="", calls=None, clock=None, kept=None):
    """Return stand-ins for a whole GPU with one planted fault; `calls` collects what was run.

    `kept` is the store of the checks. Work moves the `clock`.
    """
    calls = [] if calls is None else calls
    kept = {} if kept is None else kept
    clock = clock or FakeClock()
    broken = ["swin_t"] if fault == "a network is wrong" else []

    def timed(part, case):
        calls.append(part)
        clock.work(clock.run_s)
        busy = part == "disturbed" and fault != "a process is not named"
        conditions = TAKEN if busy else QUIET
        return History([measurement(case, **OBSERVED | {"conditions": conditions})], None)

    def group(name):
        calls.append(name)
        clock.work(clock.run_s)
        return measure.lines_of(name, FakeInstruments(fault), None)

    def checked(cases):
        for case, history in zip(cases, rounds_of(cases, broken), strict=True):
            calls.append(case.name)
            clock.work(clock.check_s)
            kept[case] = history
        return recorded(cases)

    def profiled_case(case):
        calls.append("profile")
        clock.work(clock.run_s)
        return profiled(0.002 if fault == "a profile with a hole" else 0.0)

    def recorded(cases):
        return [kept.get(case, History([], None)) for case in cases]

    state = STATE | {"clock above its maximum": {"clock_mhz": 2100}}.get(fault, {})
    state |= {"a foreign process": {"foreign_processes": 1}}.get(fault, {})
    state |= {"an exclusive mode": {"compute_mode": "exclusive_process"}}.get(fault, {})
    return Means(
        findings=lambda: [*FINDINGS, *([LACK] if fault == "doctor finds a lack" else [])],
        state=lambda: state,
        group=group,
        recorded=recorded,
        checked=checked,
        timed=timed,
        profiled=profiled_case,
        disturbed=contextlib.nullcontext,
        missing=lambda backend, precision: None,
    )


def contact(folder, fault="", *, every=False, calls=None, call_s=CALL_S, kept=None, clock=None):
    clock = clock or FakeClock(0.0, 0.0)
    todo = steps.of(means(fault, calls, clock, kept), CHIP_OF_GPU, every=every)
    return first_contact.run(todo, folder, "env", lambda _: None, FakeCall(call_s, clock))


def test_all_lines_pass_on_a_sound_gpu(tmp_path):
    lines = contact(tmp_path)
    assert [line for line in lines if line.verdict != "PASS"] == []
    assert all(line.seen and line.limit and line.raw is not None for line in lines)
    names = " ".join(line.name for line in lines)
    for word in ("doctor", "state", "host time", "device time", "cudagraph time", "profile"):
        assert word in names
    for word in ("utilisation", "energy", "TF32", "memory", "is named", "eager fp32"):
        assert word in names


TIMES = {"host time of resnet50", "host time of repnext_u3_t"}
PLANTED = {
    "doctor finds a lack": {"doctor"},
    "a foreign process": {"state of the device"},
    "clock above its maximum": {"state of the device"},
    "an exclusive mode": {"state of the device"},
    "wrong clock": TIMES,
    "no wait": TIMES,
    "no device time": {
        f"{what} time of {network}"
        for what in ("device", "cudagraph")
        for network in ("resnet50", "repnext_u3_t")
    },
    "graph does nothing": {"cudagraph answer of resnet50", "cudagraph answer of repnext_u3_t"},
    "sleeping sensor": {"utilisation against a known duty"},
    "energy off by 2": {"energy against power x time"},
    "memory off by 2": {"memory against torch's own count"},
    "TF32 changes nothing": {"TF32 on and off differ"},
    "TF32 always on": {"TF32 on and off differ"},
    "a profile with a hole": {"profile's sum against the plain latency"},
    "a process is not named": {"a process that computes is named"},
    "a network is wrong": {"check of 36 networks, eager fp32"},
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_fails_its_own_line_and_no_other(tmp_path, fault):
    lines = contact(tmp_path, fault)
    assert {line.name for line in lines if line.failed} == PLANTED[fault]
    assert all(line.why for line in lines if line.failed)


@pytest.mark.parametrize(
    ("fault", "name", "why"),
    [
        ("no sensor", "energy against power x time", "no sensor"),
        ("no sensor", "utilisation against a known duty", "no sensor"),
        ("no energy counter", "energy against power x time", "no energy counter"),
        ("sleeping sensor", "energy against power x time", "asleep"),
        ("no graphs", "cudagraph answer of resnet50", "no graphs here"),
    ],
)
def test_what_cannot_be_read_is_not_possible_with_its_reason(tmp_path, fault, name, why):
    (line,) = [line for line in contact(tmp_path, fault) if line.name == name]
    assert line.verdict == "NOT POSSIBLE"
    assert why in line.why


def test_a_second_call_runs_only_what_is_missing(tmp_path):
    calls = []
    first = contact(tmp_path, calls=calls)
    assert calls
    calls.clear()
    assert contact(tmp_path, calls=calls) == first
    assert calls == []
    (removed,) = tmp_path.glob("lines/fault-*.json")
    removed.unlink()
    contact(tmp_path, calls=calls)
    assert calls == ["clean", "disturbed"]


def test_a_second_call_measures_a_failed_line_again(tmp_path):
    calls, said = [], []
    assert not all_pass(contact(tmp_path, "a process is not named"))
    todo = steps.of(means(calls=calls), CHIP_OF_GPU)
    lines = first_contact.run(todo, tmp_path, "env", said.append, Call(CALL_S, FakeClock()))
    assert calls == ["clean", "disturbed"]
    assert all_pass(lines)
    assert "measured again: fault" in said[0]


def test_a_second_call_checks_failed_networks_again_and_no_others(tmp_path):
    kept, calls = {}, []
    assert not all_pass(contact(tmp_path, "a network is wrong", kept=kept))
    assert all_pass(contact(tmp_path, kept=kept, calls=calls))
    assert calls == ["swin_t"]


def test_what_is_missing_comes_before_what_failed(tmp_path):
    contact(tmp_path, "wrong clock", call_s=150.0, clock=FakeClock())
    calls = []
    lines = contact(tmp_path, "wrong clock", calls=calls, call_s=200.0, clock=FakeClock())
    assert calls[0] == "sensors"
    assert {line.name for line in lines if line.failed} == TIMES  # no time to measure them again
    assert "times" not in calls


def test_no_call_takes_longer_than_its_time_and_the_calls_reach_the_end(tmp_path):
    kept, last = {}, []
    for number in range(20):
        clock, calls = FakeClock(), []
        lines = contact(tmp_path, calls=calls, call_s=150.0, kept=kept, clock=clock)
        assert clock.now_s <= 150.0
        assert clock.alarm_s == math.inf
        assert not set(calls) & set(last) - {"clean", "disturbed"} or number == 0
        if not any(line.is_unfinished for line in lines):
            break
    assert number >= 2
    assert [line for line in lines if line.verdict != "PASS"] == []


@pytest.mark.parametrize(("check_s", "run_s"), [(29.0, 119.0), (4.0, 200.0), (1e4, 1e4)])
def test_a_call_ends_in_time_however_slow_the_steps_are(tmp_path, monkeypatch, check_s, run_s):
    monkeypatch.setattr(first_contact, "overload", lambda: None)
    clock = FakeClock(check_s, run_s)
    lines = contact(tmp_path, clock=clock)
    assert CALL_S / 2 < clock.now_s <= CALL_S < 9 * 60
    assert any(line.is_unfinished for line in lines)
    assert any(line.failed for line in lines) == (run_s > 240)  # the limit of a step


def test_a_step_has_time_in_a_call_and_a_limit_of_its_own():
    every = steps.of(means(), CHIP_OF_GPU, every=True)
    assert all(0 <= step.needs_s <= CALL_S for step in every)
    limited = [step for step in every if not step.name.startswith("check of ")]
    assert len(limited) == 8
    assert all(step.needs_s < step.most_s < CALL_S for step in limited)


def test_a_step_that_does_not_fit_does_not_begin(tmp_path):
    calls, clock = [], FakeClock(check_s=29.0, run_s=119.0)
    lines = contact(tmp_path, calls=calls, call_s=135.0, clock=clock)
    assert calls[0] == "tf32"
    assert not set(calls) & {"times", "sensors", "memory", "profile", "clean"}
    assert {"times", "profile", "fault"} <= {line.name for line in lines if line.is_unfinished}


def test_a_check_does_not_begin_with_less_time_than_the_slowest_one_took():
    calls, clock = [], FakeClock(check_s=100.0)
    todo = steps.of(means(calls=calls, clock=clock), CHIP_OF_GPU)
    (step,) = [step for step in todo if step.name == "check of 36 networks, eager fp32"]
    step.make(FakeCall(350.0, clock))
    assert (len(calls), clock.now_s) == (3, 300.0)


def test_a_step_that_does_not_fit_into_the_call_waits_for_the_next_one(tmp_path):
    lines = contact(tmp_path, call_s=50.0)
    by_name = {line.name: line for line in lines}
    assert by_name["doctor"].verdict == "PASS"
    assert by_name["times"] == waiting("times")
    assert by_name["times"].is_unfinished
    assert not any(line.is_unfinished for line in contact(tmp_path))


def test_a_check_stops_before_the_time_is_over_and_says_how_far_it_came():
    clock = FakeClock()
    todo = steps.of(means(clock=clock), CHIP_OF_GPU)
    (step,) = [step for step in todo if step.name == "check of 36 networks, eager fp32"]
    (line,) = step.make(Call(60.0, clock))
    assert line.verdict == "NOT POSSIBLE"
    assert line.is_unfinished
    assert "13 of 36 networks are checked so far" in line.why
    assert clock.now_s == 52.0  # one alone, then six at once


def test_a_step_that_hangs_is_stopped_when_the_call_ends_and_failed_at_its_own_limit(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(first_contact, "load", lambda: 2.0)
    monkeypatch.setattr(first_contact, "usable_cpus", lambda: 2)
    hanging = steps.Step("a", 0.0, lambda _: time.sleep(60))
    (line,) = first_contact.run([hanging], tmp_path, "env", lambda _: None, Call(0.05))
    assert line == waiting("a")
    limited = hanging._replace(most_s=0.05)
    (line,) = first_contact.run([limited], tmp_path, "env", lambda _: None, Call(60.0))
    assert line.failed
    assert "did not end within 0 s" in line.why


def test_a_step_that_is_too_slow_on_a_busy_machine_accuses_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(first_contact, "load", lambda: 9.4)
    monkeypatch.setattr(first_contact, "usable_cpus", lambda: 2)
    slow = steps.Step("a", 0.0, lambda _: time.sleep(60), most_s=0.05)
    (line,) = first_contact.run([slow], tmp_path, "env", lambda _: None, Call(60.0))
    assert line.verdict == "NOT POSSIBLE"
    assert line.repeats
    assert "a load of 9.4 on 2 CPUs: stop other programs" in line.why
    quick = slow._replace(make=lambda _: [Line("a", "PASS")])
    assert first_contact.run([quick], tmp_path, "env", lambda _: None)[0].verdict == "PASS"


def test_lines_that_did_not_begin_are_not_said_to_be_impossible(tmp_path):
    said = []
    todo = steps.of(means(), CHIP_OF_GPU)
    lines = first_contact.run(todo, tmp_path, "env", said.append, Call(50.0, FakeClock()))
    assert any(line.is_unfinished for line in lines)
    assert not any("NOT POSSIBLE" in text for text in said)


def test_a_check_that_is_stopped_keeps_the_networks_before_it():
    kept = {}
    stand_ins = means(kept=kept)

    def checked(cases):
        if kept:
            raise TimeOverError
        return stand_ins.checked(cases)

    todo = steps.of(stand_ins._replace(checked=checked), CHIP_OF_GPU)
    (step,) = [step for step in todo if step.name == "check of 36 networks, eager fp32"]
    (line,) = step.make(Call(CALL_S, FakeClock()))
    assert "1 of 36" in line.why
    assert line.is_unfinished


def test_all_adds_the_forms_of_all_networks(tmp_path):
    usual, every = (steps.of(means(), CHIP_OF_GPU, every=each) for each in (False, True))
    added = [step.name for step in every if step not in usual and "all forms" in step.name]
    assert len(added) == len(BACKENDS) * len(PRECISIONS)
    calls = []
    contact(tmp_path, every=True, calls=calls)
    assert "repnext_u3_t@srep" in calls


def test_the_page_and_the_result_of_lines():
    lines = [
        Line("a", "PASS", "1 | 2", "at most 3", raw={"x": 1}),
        Line("b", "FAIL", "4", "at most 3", "too large"),
        impossible("c", "no sensor"),
    ]
    text = page.to_markdown(lines, ENVIRONMENT)
    assert "# First contact with Test Chip 9000" in text
    assert "1 PASS, 1 FAIL, 1 NOT POSSIBLE" in text
    assert "1 \\| 2" in text
    assert "too large" in text
    assert "no sensor" in text
    assert "0 left for the next call" in text
    assert not all_pass(lines)
    assert all_pass([lines[0], lines[2]])


def test_the_page_lists_what_is_left_apart():
    text = page.to_markdown([Line("a", "PASS"), waiting("b", "2 of 3 networks")], ENVIRONMENT)
    assert "1 PASS, 0 FAIL, 0 NOT POSSIBLE; 1 left for the next call" in text
    assert "- b: 2 of 3 networks" in text


REMEDY = "Stop other programs,\n    or wait."


def refuse(*_):
    raise UnavailableError("the device is busy", REMEDY)


def test_a_failed_line_shows_the_remedy_of_its_error(tmp_path):
    stand_ins = means()._replace(findings=lambda: [LACK._replace(remedy=REMEDY)], group=refuse)
    todo = steps.of(stand_ins, CHIP_OF_GPU)
    lines = first_contact.run(todo, tmp_path, "env", lambda _: None, FakeCall(CALL_S, FakeClock()))
    text = page.to_markdown(lines, ENVIRONMENT)
    assert "convolutions are wrong: Stop other programs, or wait." in text
    assert "the device is busy: Stop other programs, or wait." in text


def test_a_group_that_cannot_begin_gives_a_line_with_the_remedy(monkeypatch, capfdbinary):
    monkeypatch.setattr(measure, "select", refuse)
    monkeypatch.setattr(sys, "argv", ["measure", "cuda", "times"])
    measure.main()
    (line,) = msgspec.json.decode(capfdbinary.readouterr().out, type=list[Line])
    assert line.failed
    assert line.why == "the device is busy: Stop other programs, or wait."


def test_what_a_library_prints_is_not_taken_for_the_lines(monkeypatch, capfdbinary):
    def talking(*_):
        os.write(1, b"a library greets\n")
        return [Line("a", "PASS")]

    monkeypatch.setattr(measure, "lines_of", talking)
    driver = types.SimpleNamespace(
        name="cuda",
        missing_precision=lambda *_: None,
        session=lambda _: contextlib.nullcontext(),
    )
    monkeypatch.setattr(measure, "select", lambda _: (driver, CHIP))
    monkeypatch.setattr(sys, "argv", ["measure", "cpu", "times"])
    measure.main()
    said = capfdbinary.readouterr()
    assert msgspec.json.decode(said.out, type=list[Line]) == [Line("a", "PASS")]
    assert b"a library greets" in said.err


@pytest.mark.parametrize("code", ["print('stray')", "pass", "print('[{}]')"])
def test_a_group_whose_process_answers_nonsense_fails_its_line(monkeypatch, code):
    monkeypatch.setattr(runs, "command_for_module", lambda *_: command_for_code(code))
    (line,) = runs._in_process("cpu", "times")
    assert (line.name, line.failed) == ("times", True)
    assert "its process did not answer with lines" in line.why


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        ([1.0, 1.01, 0.99, 1.0, 1.02, 1.0], "PASS"),
        ([1.1] * 6, "FAIL"),
        ([0.0] * 6, "FAIL"),
        ([0.6, 1.12, 0.11, 1.46, 1.0, 1.0], "NOT POSSIBLE"),  # another program computes
        ([0.77, 0.19, 0.27], "NOT POSSIBLE"),  # too few
        ([1.0, 1.06, 1.06, 1.07, 1.07, 1.08], "NOT POSSIBLE"),  # on the edge
    ],
)
def test_readings_that_vary_too_much_decide_nothing(readings, verdict):
    line = spread.within("a", readings, (0.95, 1.05), seen="", limit="", why="wrong", raw={})
    assert line.verdict == verdict
    assert line.repeats == (verdict != "PASS")


@pytest.mark.parametrize(
    ("residual", "plain_s", "verdict"),
    [
        (0.002, [0.01] * 12, "FAIL"),
        (0.002, [0.01, 0.05] * 6, "NOT POSSIBLE"),
        (0.0001, [0.01, 0.05] * 6, "NOT POSSIBLE"),
        (0.0006, [0.0098, 0.0102] * 6, "NOT POSSIBLE"),  # on the edge
        (0.0001, [0.0098, 0.0102] * 6, "PASS"),
    ],
)
def test_a_profile_of_a_busy_machine_decides_nothing(residual, plain_s, verdict):
    line = steps.recorded.profile(profiled(residual, plain_s))
    assert line.verdict == verdict
    assert line.repeats == (verdict != "PASS")


def test_a_profile_of_processes_that_differ_is_judged():
    """On an idle machine, processes of one network differ by up to 40 per cent."""
    rounds = [profiled(plain_s=[ms / 1e3] * 8).rounds[0] for ms in (10.0, 11.0, 13.5)]
    found = types.SimpleNamespace(failure=None, profile=profiled().profile, rounds=rounds)
    assert steps.recorded.profile(found).verdict == "PASS"
    found.rounds[1:] = profiled(plain_s=[0.008, 0.014] * 4).rounds
    assert steps.recorded.profile(found).verdict == "NOT POSSIBLE"


def test_what_was_met_is_saved_without_names_and_serials(tmp_path):
    root = tmp_path / "root"
    tegra = root / "proc" / "device-tree"
    tegra.mkdir(parents=True)
    (tegra / "model").write_text("NVIDIA Jetson Orin of myhost\0")
    (tegra / "serial-number").write_text("1421000000000")
    (root / "proc" / "cpuinfo").write_text("CPU part\t: 0xd42\nSerial\t\t: 00001421\nModel : x\n")
    found = met.tree(root, ["myhost"])
    assert found == {
        "proc/device-tree/model": "NVIDIA Jetson Orin of removed\0",
        "proc/cpuinfo": "CPU part\t: 0xd42\nSerialremoved\nModel : x\n",
    }
    line = Line("state", "PASS", raw={"uuid": "GPU-1f2e3d4c-0000-0000-0000-000000000200"})
    paths = met.save(tmp_path / "met", CHIP, [line], root)
    readings = json.loads((tmp_path / "met" / "readings.json").read_text())
    assert readings["state"] == {"uuid": "removed"}
    assert {path.name for path in paths} == {"tree.json", "readings.json"}
    assert met.cleaned("/home/ada/x on 00:1b:44:11:3a:b7", []) == "~/x on removed"


def dirty_trace():
    """Return a trace of one iteration that has the names of a machine and of its user."""
    path = "/home/ada/nets/net.py(7): forward on myhost"
    return encoded(mark(0, 50), event("aten::relu", 10, 5, **{"Module Hierarchy": path}))


def test_traces_are_kept_without_names_and_can_still_be_read(tmp_path, monkeypatch):
    def profile(cases, seconds, store, environment, on_profiled, *, traces):
        write_pages(traces, {"a-1.json": dirty_trace()})
        return ["the history"]

    monkeypatch.setattr(met.platform, "node", lambda: "myhost")
    monkeypatch.setattr(runs, "describe", lambda *_: ENVIRONMENT)
    monkeypatch.setattr(runs.profiler, "profile", profile)
    case = steps._case("resnet50", GPU)
    found = runs.real(DEVICES["cuda"], GPU, tmp_path, str).profiled(case)
    assert found == "the history"
    (kept,) = tmp_path.glob("traces/*.json")
    assert not {"ada", "myhost"} & {*re.findall(r"\w+", kept.read_text())}
    (iteration,) = trace.read(kept.read_bytes())
    assert [each.name for each in iteration.operators] == ["aten::relu"]


def test_texts_of_readings_are_cleaned_one_by_one(tmp_path):
    line = Line("a", "PASS", raw={"seen": ["serial: 14210", "GPU-1f2e3d4c-0000"], "n": 3})
    met.save(tmp_path, CHIP, [line], tmp_path / "no root")
    readings = json.loads((tmp_path / "readings.json").read_text())
    assert readings["a"] == {"seen": ["serialremoved", "removed"], "n": 3}


def test_the_cpus_of_a_large_host_are_saved(tmp_path):
    text = "".join(
        f"processor\t: {number}\nflags\t\t: {'avx512 ' * 240}\n\n" for number in range(256)
    )
    path = tmp_path / "proc" / "cpuinfo"
    path.parent.mkdir()
    path.write_text(text)
    assert met.tree(tmp_path, []) == {"proc/cpuinfo": text}


def test_a_device_that_was_disturbed_before_cannot_tell_whether_a_process_is_named():
    taken = measurement(steps._case("resnet50", GPU), **OBSERVED | {"conditions": TAKEN})
    line = steps.recorded.fault(taken, taken)
    assert line.verdict == "NOT POSSIBLE"
    assert "disturbed without it" in line.why


def test_an_unreadable_profile_fails_its_line():
    failure = next(rounds_of([steps._case("resnet50", GPU)], ["resnet50"])).failure
    line = steps.recorded.profile(ProfileHistory([], failure))
    assert line.failed
    assert "output differs" in line.why


@pytest.fixture
def selfcheck(bench, monkeypatch):
    """A function that calls the command with stand-ins for a GPU: (fault, words) -> Done."""
    driver = types.SimpleNamespace(
        name="cuda", runs_torch=True, is_shared=False, state=lambda: dict(STATE)
    )
    monkeypatch.setattr(devices, "select", lambda _: (driver, CHIP_OF_GPU))

    def run(fault, *words):
        def real(driver, chip, folder, say):
            write_pages(folder / "traces", {"a-1.json": dirty_trace()})
            return means(fault)

        monkeypatch.setattr(runs, "real", real)
        return bench("selfcheck", "--device", "cuda", "--hardware", "--out", "out", *words)

    return run


WRITTEN = [
    "hardware.md",
    "hardware.json",
    "hardware/met/tree.json",
    "hardware/met/readings.json",
    "hardware/traces/a-1.json",
]


def test_the_command_writes_the_page_its_numbers_and_what_it_met(selfcheck, tmp_path):
    done = selfcheck("")
    folder = tmp_path / "out" / CHIP_OF_GPU.slug
    assert done.returncode == 0
    assert done.stdout.split() == [f"out/{CHIP_OF_GPU.slug}/{name}" for name in WRITTEN]
    page = (folder / "hardware.md").read_text()
    assert "0 FAIL, 0 NOT POSSIBLE; 0 left" in page
    assert "of `bench selfcheck --device cuda --hardware`" in page
    raw = json.loads((folder / "hardware.json").read_text())
    assert {each["verdict"] for each in raw.values()} == {"PASS"}
    assert len(raw["host time of resnet50"]["pairs_s"]) == timing.PAIRS
    readings = json.loads((folder / "hardware/met/readings.json").read_text())
    assert readings["facts"] == CHIP_OF_GPU.facts
    assert readings.keys() == {"facts", *raw}


def test_a_line_that_fails_gives_exit_code_1_and_the_page(selfcheck, tmp_path):
    done = selfcheck("TF32 always on")
    assert done.returncode == 1
    page = (tmp_path / "out" / CHIP_OF_GPU.slug / "hardware.md").read_text()
    assert "1 FAIL" in page
    assert "FAIL  TF32 on and off differ" in done.stderr


def test_all_in_the_command_checks_all_forms(selfcheck, tmp_path):
    assert selfcheck("", "--all").returncode == 0
    page = (tmp_path / "out" / CHIP_OF_GPU.slug / "hardware.md").read_text()
    assert page.count("check of all forms") == len(BACKENDS) * len(PRECISIONS)
    assert "of `bench selfcheck --device cuda --hardware --all`" in page


def test_a_call_that_ends_before_its_last_line_gives_exit_code_1(selfcheck, monkeypatch):
    monkeypatch.setattr(call, "Call", lambda: FakeCall(50.0, FakeClock()))
    done = selfcheck("")
    assert done.returncode == 1
    assert (
        "left for the next call of `bench selfcheck --device cuda --hardware`: tf32; times"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--all"], "--all needs --hardware"),
        (["--hardware", "--full"], "--full does not go with --hardware"),
        (["--hardware", "--device", "fake"], "fake is simulated"),
    ],
)
def test_wrong_use_ends_with_exit_code_2(bench, words, text):
    done = bench("selfcheck", *words, "--out", "out")
    assert done.returncode == 2
    assert text in done.stderr


def test_a_device_that_is_not_here_ends_with_exit_code_3(bench):
    done = bench("selfcheck", "--device", "orin", "--hardware", "--out", "out")
    assert done.returncode == 3
