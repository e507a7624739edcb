"""A first contact on a simulated GPU: all lines pass, and each planted fault fails its own line."""

import contextlib
import json
import types

import msgspec
import pytest
from support.fake_gpu import FakeInstruments
from support.records import CHIP, ENVIRONMENT, GPU, OBSERVED, QUIET, TAKEN, measurement

from bench.analysis.profile.recorded import ProfileHistory
from bench.diagnostics.doctor import Finding
from bench.diagnostics.hardware import first_contact, measure, met, page, steps
from bench.diagnostics.hardware.line import Line, all_pass, impossible
from bench.diagnostics.hardware.recorded import NOT_YET
from bench.diagnostics.hardware.runs import Means
from bench.records import Failure, Waterfall
from bench.storage.history import History

CHIP_OF_GPU = msgspec.structs.replace(GPU, facts={"max_clock_mhz": 1980})
STATE = {"compute_mode": "default", "clock_mhz": 345, "foreign_processes": 0, "persistence": None}
FINDINGS = [
    Finding("ok", "torch", "2.6"),
    Finding("lack", "device orin", "no Jetson Orin here"),
    Finding("lack", "backend compile", "needs a C++ compiler"),
    Finding("ok", f"device {GPU.device}", "Test GPU"),
]
LACK = Finding("lack", f"torch on {GPU.device}", "convolutions are wrong")


def profiled(residual=0.0):
    terms = Waterfall(0.01, 0.006, 0.003 - residual, 0.001, residual, 0.0, 0.0)
    return types.SimpleNamespace(failure=None, profile=types.SimpleNamespace(waterfall=terms))


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


def means(fault="", calls=None):
    """Return stand-ins for a whole GPU with one planted fault; `calls` collects what was run."""
    calls = [] if calls is None else calls
    broken = ["swin_t"] if fault == "a network is wrong" else []

    def timed(part, case):
        calls.append(part)
        busy = part == "disturbed" and fault != "a process is not named"
        conditions = TAKEN if busy else QUIET
        return History([measurement(case, **OBSERVED | {"conditions": conditions})], None)

    def group(name, _):
        calls.append(name)
        return measure.lines_of(name, FakeInstruments(fault), None)

    def checked(cases):
        calls.extend(case.name for case in cases)
        return list(rounds_of(cases, broken))

    state = STATE | {"clock above its maximum": {"clock_mhz": 2100}}.get(fault, {})
    state |= {"a foreign process": {"foreign_processes": 1}}.get(fault, {})
    state |= {"an exclusive mode": {"compute_mode": "exclusive_process"}}.get(fault, {})
    return Means(
        findings=lambda: [*FINDINGS, *([LACK] if fault == "doctor finds a lack" else [])],
        state=lambda: state,
        group=group,
        checked=checked,
        timed=timed,
        profiled=lambda case: profiled(0.002 if fault == "a profile with a hole" else 0.0),
        disturbed=contextlib.nullcontext,
        missing=lambda backend, precision: None,
    )


def contact(folder, fault="", *, every=False, calls=None, call_s=first_contact.CALL_S):
    todo = steps.of(means(fault, calls), CHIP_OF_GPU, every=every)
    return first_contact.run(todo, folder, "env", lambda _: None, call_s)


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
    first = contact(tmp_path, calls=calls, call_s=first_contact.CALL_S)
    assert calls
    calls.clear()
    assert contact(tmp_path, calls=calls) == first
    assert calls == []
    (removed,) = tmp_path.glob("lines/fault-*.json")
    removed.unlink()
    contact(tmp_path, calls=calls)
    assert calls == ["clean", "disturbed"]


def test_a_step_that_does_not_fit_into_the_call_waits_for_the_next_one(tmp_path):
    lines = contact(tmp_path, call_s=50.0)
    assert first_contact.is_unfinished(lines)
    by_name = {line.name: line for line in lines}
    assert by_name["doctor"].verdict == "PASS"
    assert by_name["times"] == impossible("times", NOT_YET)
    assert not first_contact.is_unfinished(contact(tmp_path))


def test_a_check_that_stops_in_the_middle_says_how_far_it_came(tmp_path):
    cases = steps.of(means(), CHIP_OF_GPU)
    (step,) = [step for step in cases if step.name == "check of 36 networks, eager fp32"]
    (line,) = step.make(-1e9)
    assert line.verdict == "NOT POSSIBLE"
    assert "0 of 36" in line.why
    assert first_contact.is_unfinished([line])


def test_all_adds_the_forms_of_all_networks(tmp_path):
    usual, every = (steps.of(means(), CHIP_OF_GPU, every=each) for each in (False, True))
    added = [step.name for step in every if step not in usual and "all forms" in step.name]
    assert len(added) == 16
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
    assert not all_pass(lines)
    assert all_pass([lines[0], lines[2]])


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
