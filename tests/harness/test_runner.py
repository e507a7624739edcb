"""The whole pipeline on the fake device: real processes, scripted time."""

import contextlib
import os
import signal

import msgspec
import pytest
from support import runs
from support.runs import ON_FAKE, PLAN, Listener, fake

from bench.devices import DEVICES
from bench.errors import UsageError
from bench.harness.scheduler import runner
from bench.harness.scheduler.capacity import has_room
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.child import CaseError
from bench.harness.scheduler.record import _declared
from bench.harness.scheduler.template import Template
from bench.records import LAST, Case, Conditions, Failure, Measurement
from bench.storage import reader
from bench.storage.history import history
from bench.text import without_paths


@pytest.fixture
def measure(tmp_path):
    """Run cases into one store: (cases, plan) -> failures; `.store` and `.listener` stay."""

    def call(cases, plan=PLAN, **options):
        call.listener = Listener()
        call.store, failures = runs.measure(tmp_path, cases, plan, call.listener, **options)
        return failures

    return call


def records(measure, kind=Measurement):
    return [record for record in measure.store.records if isinstance(record, kind)]


def test_every_case_has_all_rounds_and_all_samples(measure):
    cases = [fake("resnet50"), fake("swin_t"), fake("resnet50", batch=128)]
    assert measure(cases) == []
    assert [(r.case.name, r.case.batch, r.round, r.stopped_by) for r in records(measure)] == [
        ("resnet50", 1, 1, "round"),
        ("swin_t", 1, 1, "round"),
        ("resnet50", 1, 2, "rounds"),
        ("swin_t", 1, 2, "rounds"),
        ("resnet50", 128, 1, "round"),
        ("resnet50", 128, 2, "rounds"),
    ]
    for record in records(measure):
        assert sum(record.block_sizes) == len(record.samples_s) >= 5
        assert len(record.block_starts_s) == len(record.block_sizes)
        assert sum(record.samples_s) >= PLAN.timed_s
        assert record.stages_s.timed == pytest.approx(sum(record.samples_s))
        assert record.warnings == []


def test_a_record_that_could_not_be_read_back_is_a_failure_at_once(measure, monkeypatch):
    monkeypatch.setattr(reader, "LINE_BYTES", 2500)
    long = msgspec.structs.replace(PLAN, min_samples=500)
    (failed,) = measure([fake("resnet50")], long)
    assert (failed.stage, failed.error) == ("timed", "UnreadableRecord")
    assert "2500 bytes" in failed.message
    assert records(measure) == []
    assert measure([fake("resnet50")], long) == [failed]


def test_cases_take_turns_and_every_turn_reverses_the_order(measure):
    measure([fake("resnet50"), fake("swin_t"), fake("convnext_t")], PLAN)
    first_round = [name for kind, name, *_ in measure.listener.events if kind == "sampled"][:6]
    assert first_round == ["resnet50", "swin_t", "convnext_t", "convnext_t", "swin_t", "resnet50"]


def test_later_rounds_have_a_shuffled_but_reproducible_order(measure, tmp_path):
    cases = [fake(name) for name in ("resnet50", "swin_t", "convnext_t", "vit_b", "deit_s")]
    measure(cases, msgspec.structs.replace(PLAN, rounds=3))
    begun = [name for kind, name, *_ in measure.listener.events if kind == "warmed"]
    rounds = [begun[i : i + 5] for i in (0, 5, 10)]
    assert rounds[0] == [case.name for case in cases]
    assert rounds[0] != rounds[1] != rounds[2]
    assert {tuple(sorted(names)) for names in rounds} == {tuple(sorted(rounds[0]))}
    measure.store.path.unlink()
    measure(cases, msgspec.structs.replace(PLAN, rounds=3))
    assert begun == [name for kind, name, *_ in measure.listener.events if kind == "warmed"]


def test_every_block_has_calibration_times_and_every_round_conditions(measure):
    measure([fake("resnet50"), fake("swin_t")])
    for record in records(measure):
        blocks = len(record.block_sizes)
        assert len(record.block_compute_s) == len(record.block_memory_s) == blocks
        assert record.conditions.wall_s == pytest.approx(sum(record.samples_s))
        assert record.conditions.stolen_cpu_s == 0
        assert record.steady is True
        assert record.stages_s.calibrate == pytest.approx(0.009 * blocks)


def test_cases_that_do_not_fit_together_run_in_waves_with_a_warning(measure, monkeypatch):
    monkeypatch.setattr(runner, "has_room", lambda free, peaks: len(peaks) < 2)
    measure([fake("resnet50"), fake("swin_t"), fake("convnext_t")])
    assert len(records(measure)) == 6
    for record in records(measure):
        assert "of 3 cases at once" in record.warnings[0]


class Crowded:
    """Children of one network run out of memory while other children live."""

    def __init__(self, monkeypatch, name, alone=True):
        self.alive, self.name, self.alone = 0, name, alone
        monkeypatch.setattr(runner, "CaseRound", self.turn)

    def turn(self, job, child, earlier, calls):
        made, crowd = CaseRound(job, child, earlier), self

        class Crowding(CaseRound):
            def await_ready(self):
                made.await_ready()
                if job.case.model == crowd.name and (crowd.alive or not crowd.alone):
                    child.kill()
                    raise CaseError("first", "OutOfMemory", "tried to allocate 2.00 GiB")
                crowd.alive += 1
                self.iteration_s, self.peak_bytes = made.iteration_s, made.peak_bytes

            def finish(self):
                crowd.alive -= 1
                return super().finish()

        return Crowding(job, child, earlier)


def test_a_chip_that_serves_one_process_at_a_time_gets_one_child_at_a_time(measure, monkeypatch):
    alive = [0]

    class Counting(CaseRound):
        def await_ready(self):
            alive.append(alive[-1] + 1)
            super().await_ready()

        def end(self):
            alive.append(alive[-1] - 1)
            super().end()

    monkeypatch.setattr(runner, "CaseRound", Counting)
    monkeypatch.setattr(DEVICES["fake"], "most_children", lambda: 1)
    assert measure([fake("resnet50"), fake("swin_t")]) == []
    assert max(alive) == 1
    assert "there was room for 1 of 2 cases at once" in records(measure)[0].warnings[0]


def test_the_driver_of_the_chip_is_held_open_in_each_round(measure, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def keep_ready():
        seen.append("held")
        yield
        seen.append("let go")

    monkeypatch.setattr(DEVICES["fake"], "keep_ready", keep_ready)
    assert measure([fake("resnet50")]) == []
    assert seen == ["held", "let go"] * len(records(measure))


def test_a_case_that_does_not_fit_next_to_others_runs_in_the_next_wave(measure, monkeypatch):
    Crowded(monkeypatch, "swin_t")
    assert measure([fake("resnet50"), fake("swin_t")]) == []
    assert len(records(measure)) == 4
    assert "there was room for 1 of 2 cases at once" in records(measure)[0].warnings[0]


def test_a_case_that_does_not_fit_alone_fails_and_the_next_case_runs(measure, monkeypatch):
    Crowded(monkeypatch, "resnet50", alone=False)
    (failed,) = measure([fake("resnet50"), fake("swin_t")])
    assert (failed.stage, failed.error) == ("first", "OutOfMemory")
    assert "2.00 GiB" in failed.message
    assert [record.case.model for record in records(measure)] == ["swin_t"] * 2


def test_device_clock_and_pipelined_blocks_are_recorded_separately(measure):
    measure([fake("resnet50"), fake("resnet50", batch=128)])
    for record in records(measure):
        assert len(record.device_samples_s) == len(record.samples_s)
        assert sum(record.device_samples_s) == pytest.approx(0.9 * sum(record.samples_s), rel=0.05)
        assert record.stages_s.timed == pytest.approx(sum(record.samples_s))
        pipelined = len(record.block_sizes) if record.case.batch > 1 else 0
        assert len(record.block_pipelined_s) == pipelined


def test_the_chip_is_observed_once_per_case_outside_the_budget(measure):
    measure([fake("resnet50")], msgspec.structs.replace(PLAN, budget_s=9.9))
    first, second = records(measure)
    assert first.telemetry.seconds == pytest.approx(10, abs=0.1)
    assert first.telemetry.energy_j == pytest.approx(100 * first.telemetry.seconds)
    assert first.stages_s.observe >= 10
    assert second.telemetry is None


def test_a_failed_observation_is_a_warning_and_the_blocks_are_kept(measure, monkeypatch):
    def die(self, seconds):
        raise CaseError("observe", "Killed", "the process died of SIGKILL")

    monkeypatch.setattr(CaseRound, "observe", die)
    assert measure([fake("resnet50")]) == []
    first, second = records(measure)
    assert first.telemetry is second.telemetry is None
    said = "the chip could not be observed: Killed: the process died of SIGKILL"
    assert said in first.warnings


@pytest.mark.parametrize(
    ("error", "message", "number", "short"),
    [
        ("OutOfMemory", "tried to allocate", None, True),
        ("Killed", "the process died of SIGKILL", signal.SIGKILL, True),
        ("Killed", "the process died of SIGSEGV", signal.SIGSEGV, False),
        (
            "RuntimeError",
            "my network logs SIGKILL",
            None,
            False,
        ),  # the text of the message is ignored
        ("Timeout", "no answer within 5 s", None, False),
    ],
)
def test_sigkill_and_out_of_memory_errors_count_as_out_of_memory(error, message, number, short):
    assert CaseError("first", error, message, signal=number).is_out_of_memory == short


def test_foreign_processes_on_the_chip_are_recorded(measure, monkeypatch):
    monkeypatch.setattr(runner.DEVICES["fake"], "foreign_processes", lambda: 3)
    measure([fake("resnet50")])
    assert {record.conditions.foreign_processes for record in records(measure)} == {3}


@pytest.mark.parametrize(
    ("declared", "seen", "recorded"),
    [
        ("15W", ["15W"], ["15W"]),
        ("15W", ["MAXN"], ["15W", "MAXN"]),
        ("15W", [], []),
        (None, ["performance"], ["performance"]),
    ],
)
def test_a_power_mode_that_differs_from_the_declared_one_is_recorded_too(declared, seen, recorded):
    chip = msgspec.structs.replace(ON_FAKE.chip, device="fake", facts={"power_mode": declared})
    environment = msgspec.structs.replace(ON_FAKE, chip=chip)
    found = _declared(Conditions(power_modes=seen), environment, foreign_processes=3)
    assert (found.power_modes, found.foreign_processes) == (recorded, 3)


def test_a_child_has_room_if_twice_the_largest_peak_and_the_reserve_are_free():
    gib = 2**30
    assert has_room(0, [])  # the first child always has room
    assert has_room(None, [gib])
    assert has_room(3 * gib, [gib, None])
    assert not has_room(2 * gib, [gib])
    assert not has_room(3 * gib, [gib, 2 * gib])


def test_the_first_call_after_each_switch_is_discarded_and_counted(measure):
    measure([fake("resnet50"), fake("swin_t")])
    for record in records(measure):
        warmed = record.discarded - 1 - len(record.block_sizes)
        assert warmed >= 2


def test_a_slow_batch_has_one_iteration_per_block_and_no_discarded_call(measure):
    slow = msgspec.structs.replace(PLAN, slow_s=0.0001, rounds=1)
    measure([fake("resnet50", batch=128), fake("swin_t", batch=128)], slow)
    for record in records(measure):
        assert record.block_sizes == [1, 1, 1]
        assert record.discarded == 1


def test_batch_1_has_five_samples_even_if_slow(measure):
    slow = msgspec.structs.replace(PLAN, slow_s=0.0001, timed_s=0.0001, rounds=1)
    measure([fake("resnet50")], slow)
    assert len(records(measure)[0].samples_s) >= 5


def test_a_damaged_line_loses_only_its_round(measure):
    cases = [fake("resnet50"), fake("swin_t")]
    measure(cases, msgspec.structs.replace(PLAN, rounds=3))
    lines = measure.store.path.read_bytes().splitlines(keepends=True)
    measure.store.path.write_bytes(b"".join([*lines[:3], b"no record\n", *lines[4:]]))
    measure(cases, msgspec.structs.replace(PLAN, rounds=3))
    for case in cases:
        assert len(history(measure.store.records, case, "env").rounds) == 3


def test_cases_that_take_turns_have_the_same_sitting(measure):
    measure([fake("resnet50")], msgspec.structs.replace(PLAN, rounds=1))
    measure([fake("resnet50"), fake("swin_t")], msgspec.structs.replace(PLAN, rounds=3))
    sittings = [(r.case.name, r.round, r.sitting) for r in records(measure)]
    assert sittings == [
        ("resnet50", 1, 1),
        ("resnet50", 2, 1),
        ("swin_t", 1, 1),
        ("resnet50", 3, 2),
        ("swin_t", 2, 2),
        ("swin_t", 3, 3),
    ]


def test_the_same_command_again_measures_nothing(measure):
    cases = [fake("resnet50"), fake("swin_t")]
    measure(cases)
    before = measure.store.path.read_bytes()
    measure(cases)
    assert measure.listener.events == [("started", 0, 2)]
    assert measure.store.path.read_bytes() == before


def test_a_plan_with_more_rounds_adds_the_missing_rounds(measure):
    measure([fake("resnet50")])
    measure([fake("resnet50")], msgspec.structs.replace(PLAN, rounds=3))
    assert [r.round for r in records(measure)] == [1, 2, 3]


def test_a_resumed_run_has_the_same_rounds_as_an_uninterrupted_run(measure):
    cases = [fake("resnet50"), fake("swin_t")]
    measure(cases)
    whole = [(r.case_id, r.round, r.stopped_by) for r in records(measure)]
    lines = measure.store.path.read_bytes().splitlines(keepends=True)
    measure.store.path.write_bytes(b"".join(lines[:2]) + lines[2][:50])
    measure(cases)
    again = [(r.case_id, r.round, r.stopped_by) for r in records(measure)]
    assert sorted(again) == sorted(whole)


@pytest.mark.parametrize(
    ("fault", "stage", "error", "message"),
    [
        ("raise", "build", "RuntimeError", "scripted fault"),
        ("nan", "check", "ArithmeticError", "not finite"),
        ("segfault", "build", "Killed", "SIGSEGV"),
        ("exit", "build", "Exited", "exit code 7"),
    ],
)
def test_a_failed_case_is_recorded_and_the_other_cases_run(measure, fault, stage, error, message):
    failures = measure([fake(f"fault/{fault}"), fake("resnet50")])
    (failed,) = records(measure, Failure)
    assert failures == [failed]
    assert (failed.stage, failed.error) == (stage, error)
    assert message in failed.message
    assert [r.case.name for r in records(measure)] == ["resnet50", "resnet50"]


def test_a_case_that_hangs_is_killed_at_its_deadline(measure):
    plan = msgspec.structs.replace(PLAN, deadline_s=1.0, rounds=1)
    (failed,) = measure([fake("fault/hang"), fake("resnet50")], plan)
    assert (failed.stage, failed.error) == ("build", "Timeout")
    assert len(records(measure)) == 1


def test_a_failed_case_is_retried_only_on_request(measure):
    cases = [fake("fault/raise")]
    measure(cases)
    assert len(measure(cases)) == 1
    assert len(records(measure, Failure)) == 1
    assert len(measure(cases, retry_failed=True)) == 1
    assert len(records(measure, Failure)) == 2


def test_again_measures_anew_what_is_on_record(measure):
    cases = [fake("resnet50"), fake("fault/raise"), fake("swin_t")]
    measure(cases[:2])
    measure(cases, again=True)
    assert measure.listener.events[0] == ("started", 3, 0)
    made = [(r.case.model, r.generation, r.round, r.stopped_by) for r in records(measure)]
    assert sorted(made) == [
        ("resnet50", 0, 1, "round"),
        ("resnet50", 0, 2, "rounds"),
        ("resnet50", 1, 1, "round"),
        ("resnet50", 1, 2, "rounds"),
        ("swin_t", 0, 1, "round"),
        ("swin_t", 0, 2, "rounds"),
    ]
    assert [failed.generation for failed in records(measure, Failure)] == [0, 1]


def test_a_run_without_again_resumes_the_newest_generation(measure):
    measure([fake("resnet50")])
    measure([fake("resnet50")], msgspec.structs.replace(PLAN, rounds=1), again=True)
    measure([fake("resnet50")])
    assert [(r.generation, r.round) for r in records(measure)] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def rewritten(measure, **changes):
    """Change fields of the only round on record, in the file."""
    content = [
        msgspec.structs.replace(each, **changes) if isinstance(each, Measurement) else each
        for each in measure.store.records
    ]
    measure.store.path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in content))


@pytest.mark.parametrize(("number", "rounds"), [(LAST, [LAST, 1]), (LAST + 1, [1, 2])])
def test_a_run_ends_whatever_round_is_on_record(measure, number, rounds):
    """The next round has a number that can be read again; a round without one is set apart."""
    measure([fake("resnet50")], msgspec.structs.replace(PLAN, rounds=1))
    rewritten(measure, round=number)
    assert measure([fake("resnet50")]) == []
    assert [each.round for each in records(measure)] == rounds
    assert len(measure.store.warnings) == (number > LAST)
    measure([fake("resnet50")])
    assert len(records(measure)) == 2


def test_the_last_generation_cannot_be_measured_again(measure):
    measure([fake("resnet50")], msgspec.structs.replace(PLAN, rounds=1))
    rewritten(measure, generation=LAST)
    with pytest.raises(UsageError, match="the last that a record can have"):
        measure([fake("resnet50")], again=True)
    assert len(records(measure)) == 1


def test_more_threads_than_cpus_is_a_warning_on_the_record(measure):
    measure([Case("resnet50", "plain", device="fake", threads=64)])
    assert records(measure)[0].warnings == ["64 threads on 1 usable CPUs"]


def test_no_child_outlives_its_template():
    from bench.harness.protocol.messages import Job, Ready

    with Template("fake") as template:
        child = template.fork(Job(fake("resnet50"), 1, PLAN, None))
        assert isinstance(child.answer(10), Ready)
        pid = child.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("No module named 'x' in /home/ann/code/net.py:3", "No module named 'x' in net.py:3"),
        ("img/s and 1/2 stay, nets/mine.py too", "img/s and 1/2 stay, nets/mine.py too"),
        ("'/tmp/a/b.pt'", "'b.pt'"),
        ("/alice ~/x/y ../../home/alice/z ./w/ --suite=/a/s.toml", "alice y z w --suite=s.toml"),
    ],
)
def test_records_contain_no_absolute_path(text, kept):
    assert without_paths(text) == kept
