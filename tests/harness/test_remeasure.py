"""Measuring cases on record once more: one round of each, in one sitting, with the same code."""

import contextlib
import shutil

import pytest
from support.runs import ON_FAKE, PLAN, Listener, fake, measure

from bench.harness import remeasure
from bench.harness.scheduler.runner import Scheduler
from bench.harness.scheduler.template import TemplateDiedError
from bench.harness.stopping_rule import is_done
from bench.records import Case, Environment, Source
from bench.storage.results import Store

A, B, C = fake("resnet50"), fake("swin_t"), fake("convnext_t")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A file with two rounds of three cases."""
    folder = tmp_path_factory.mktemp("fake")
    return measure(folder, [A, B, C], PLAN, Listener())[0].path


@pytest.fixture
def store(measured, tmp_path):
    """An open store with a copy of that file."""
    shutil.copy(measured, tmp_path)
    store = Store(tmp_path)
    store.open()
    with contextlib.closing(store):
        yield store


def done_in(store, case):
    return store.history(case, ON_FAKE.environment_id).rounds


def test_each_call_measures_one_round_of_its_cases_in_one_sitting(store):
    once = remeasure.one_by_one(PLAN, store, ON_FAKE, Listener(), {})
    once([A, B])
    once([B, C])
    assert [len(done_in(store, case)) for case in (A, B, C)] == [3, 4, 3]
    sittings = [[each.sitting for each in done_in(store, case)[2:]] for case in (A, B, C)]
    assert sittings == [[1], [1, 2], [2]]
    assert {done_in(store, case)[-1].stopped_by for case in (A, B, C)} == {"rounds"}
    assert [each.round for each in done_in(store, B)] == [1, 2, 3, 4]


def test_nothing_is_written_before_a_round_and_one_environment_for_all(store):
    before = len(store.records)
    once = remeasure.one_by_one(PLAN, store, ON_FAKE, Listener(), {})
    assert len(store.records) == before
    once([A, B])
    once([A, B])
    assert sum(isinstance(each, Environment) for each in store.records[before:]) == 1


def test_a_killed_template_is_started_again_for_the_cases_that_are_missing(store, monkeypatch):
    start, calls = Scheduler._run_round, []

    def killed_once(self, cases):
        calls.append(list(cases))
        if len(calls) == 1:
            start(self, cases[:1])
            raise TemplateDiedError
        start(self, cases)

    monkeypatch.setattr(Scheduler, "_run_round", killed_once)
    remeasure.one_by_one(PLAN, store, ON_FAKE, Listener(), {})([A, B])
    assert calls == [[A, B], [B]]
    assert [len(done_in(store, case)) for case in (A, B)] == [3, 3]


def test_a_round_that_other_programs_spoil_is_named(store, monkeypatch):
    def spoilt_by(self, made):
        return ["others"] if made.case == B else []

    monkeypatch.setattr("bench.harness.scheduler.patience.Patience.spoilt_by", spoilt_by)
    once = remeasure.one_by_one(PLAN, store, ON_FAKE, Listener(), {})
    assert once([A, B]) == [B]
    assert once([A, C]) == []
    assert done_in(store, B)[-1].stopped_by == "rounds"  # it is repeated only if a question asks


def test_the_case_is_done_after_any_round(store):
    plan = PLAN.exactly(1)
    assert is_done(plan, done_in(store, A))
    assert is_done(plan, done_in(store, A)[:1])


def test_a_network_of_the_zoo_is_found_without_a_source():
    assert remeasure.found_again([A, B]) == ({}, {})


def test_code_of_the_user_is_found_again_unless_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    path.write_text("def net():\n    ...\n")
    (name,) = remeasure.networks.named(["net.py:net"], "fake", None)
    case = Case(name.model.name, "plain", device="fake")
    sources, reasons = remeasure.found_again([case])
    assert (sources[case.model].factory, reasons) == ("net", {})
    assert sources[case.model] != Source()
    path.write_text("def net():\n    return 1\n")
    sources, reasons = remeasure.found_again([case])
    assert sources == {}
    assert "net.py:net was changed" in reasons[case.model]
    path.unlink()
    assert "net.py" in remeasure.found_again([case])[1][case.model]
