"""What a worker answers to JSON: cases, records, and refusals. Dask is not needed for it."""

import hashlib
import threading

import msgspec
import pytest

from bench import devices
from bench.fleet import errand as errands
from bench.fleet.errand import Errand, Made, Offer, Offered, Refused, Waits, to_json
from bench.fleet.measuring import answer
from bench.fleet.validation import Station
from bench.harness.plan import PRESETS
from bench.harness.suite import Overrides, Suite
from bench.records import Case, Environment, Failure, Measurement, of_cases
from bench.storage import lock
from bench.storage.reader import checked
from bench.storage.results import Store

SUITE = Suite(models=("resnet50", "swin_t"), batch=(1, 2))
PLAN = PRESETS["quick"].exactly(2)
NET = """
import pathlib
pathlib.Path("ran").touch()
from torch import nn
def net():
    return nn.Conv2d(3, 8, 3)
"""


class Worker:
    """A worker without a scheduler: questions are answered in this process."""

    def __init__(self, folder, *allowed):
        self.folder = folder
        self.station = Station(["fake"], str(folder), list(allowed))

    def say(self, text):
        """The messages that answer a text."""
        said = []
        answer(text, self.station, said.append)
        return [errands.sent_of(each).body for each in said]

    def ask(self, question):
        return self.say(to_json(question))

    def group(self, suite=SUITE):
        (offered,) = self.ask(Offer("fake", suite))
        return offered.environment.environment_id, offered.groups[0]

    def records(self, question):
        said = self.ask(question)
        assert all(isinstance(each, Made) for each in said), said
        return [checked(each.record.encode()) for each in said]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Worker(tmp_path / "store")


def errand(here, cases, **changes):
    return Errand("fake", here, list(cases), PLAN, "0123456789abcdef", "bench fleet run", **changes)


def rounds_of(records):
    return [(r.case.model, r.round) for r in records if isinstance(r, Measurement)]


def test_an_offer_names_the_cases_by_group(worker):
    (found,) = worker.ask(Offer("fake", SUITE, Overrides(batch=(1,))))
    assert isinstance(found, Offered)
    assert [[(c.model, c.batch) for c in group] for group in found.groups] == [
        [("resnet50", 1), ("swin_t", 1)],
    ]
    assert found.environment.chip.name == "fake"


def test_each_record_is_told_once_and_the_run_first(worker):
    found = worker.records(errand(*worker.group(), labels={"swin_t": "Mine"}))
    assert isinstance(found[0], Environment)
    assert (found[0].command, found[0].labels) == ("bench fleet run", {"swin_t": "Mine"})
    assert sorted(rounds_of(found)) == [(m, r) for m in ("resnet50", "swin_t") for r in (1, 2)]


def test_a_worker_continues_after_the_records_that_the_client_has(worker, tmp_path):
    question = errand(*worker.group())
    whole = list(of_cases(worker.records(question)))
    other = Worker(tmp_path / "other")
    known = msgspec.structs.replace(question, known=whole[:3])
    found = [record for record in other.records(known) if isinstance(record, Measurement)]
    assert [(r.case, r.round, r.samples_s) for r in found] == [
        (r.case, r.round, r.samples_s) for r in whole[3:]
    ]


def test_a_client_that_has_nothing_gets_what_the_worker_has_kept(worker):
    question = errand(*worker.group())
    first = worker.records(question)
    again = worker.records(question)
    assert {to_json(each) for each in again} == {to_json(each) for each in first}
    assert len(again) == len(first)
    assert worker.records(msgspec.structs.replace(question, known=list(of_cases(first)))) == []


def test_of_a_round_that_both_have_the_one_of_the_client_counts(worker):
    """The worker's own case is done; the client has the same round, after which one is missing."""
    here, cases = worker.group()
    ours = worker.records(errand(here, cases[:1]))
    first = next(record for record in ours if isinstance(record, Measurement))
    theirs = msgspec.structs.replace(first, run_id="theirs", stopped_by="round")
    found = worker.records(errand(here, cases[:1], known=[theirs]))
    assert rounds_of(found) == [("resnet50", 2)]


def test_a_worker_that_waits_for_another_run_says_so(worker, monkeypatch):
    monkeypatch.setattr(lock, "WAIT_S", 0.1)
    here, cases = worker.group()
    store = Store(worker.folder / "0123456789abcdef" / "fake")
    store.open()
    threading.Timer(1.0, store.close).start()
    waits, *made = worker.ask(errand(here, cases[:1]))
    assert isinstance(waits, Waits)
    assert waits.message.startswith(f"waiting: another run is writing to {store.path}")
    assert [type(each) for each in made] == [Made] * 3  # the run, and two rounds


def test_an_alias_of_another_chip_may_be_that_of_another_worker(worker, monkeypatch):
    monkeypatch.setitem(devices.ALIASES, "h100", "fake")
    (refused,) = worker.ask(Offer("h100", SUITE))
    assert (refused.exit_code, refused.is_elsewhere) == (3, True)


def test_a_failure_is_measured_again_once_where_the_client_retries_it(worker):
    here, cases = worker.group(Suite(models=("fault/nan",), batch=(1,)))
    (failed,) = of_cases(worker.records(errand(here, cases)))
    assert isinstance(failed, Failure)
    known = errand(here, cases, known=[failed])
    assert worker.records(known) == []
    retry = msgspec.structs.replace(known, retried=[failed.case_id])
    (again,) = of_cases(worker.records(retry))
    assert again.run_id != failed.run_id
    assert list(of_cases(worker.records(retry))) == [again]  # kept, and told to who lacks it


def test_again_starts_the_next_generation_once(worker):
    here, cases = worker.group()
    known = list(of_cases(worker.records(errand(here, cases))))
    wanted = {case.case_id: 1 for case in cases}
    anew = errand(here, cases, known=known, generations=wanted)
    found = list(of_cases(worker.records(anew)))
    assert {record.generation for record in found} == {1}
    assert len(found) == 4
    part = msgspec.structs.replace(anew, known=[*known, *found[:3]])
    assert list(of_cases(worker.records(part))) == found[3:]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Offer("orin", SUITE), "does not measure on orin"),
        (Offer("fake", Suite(models=("nobody",))), "unknown model 'nobody'"),
        (errand("", [Case("resnet50", "plain", device="fake")]), "has changed since"),
        (Offer("fake", SUITE, format=99), "format 99"),
    ],
)
def test_what_cannot_be_measured_here_is_refused(worker, question, message):
    (found,) = worker.ask(question)
    assert isinstance(found, Refused)
    assert message in found.message
    assert found.remedy


def test_a_worker_keeps_what_it_measures_for_one_folder_of_a_client(worker):
    question = errand(*worker.group())
    first = worker.records(question)
    anew = worker.records(msgspec.structs.replace(question, campaign="fedcba9876543210"))
    assert {each.run_id for each in anew}.isdisjoint({each.run_id for each in first})
    (refused,) = worker.ask(msgspec.structs.replace(question, campaign="../elsewhere"))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("nobody", "plain", device="fake"), "unknown model 'nobody'"),
        (Case("resnet50", "srep", device="fake"), "srep"),
        (Case("resnet50", "plain", device="cpu"), "is a case of cpu"),
        (Case("resnet50", "plain", device="fake", backend="no"), "backend 'no'"),
        (Case("os:system", "plain", device="fake"), "is code of a package"),
        (Case("foo", "bar/evil.py:net", device="fake"), "no form is called 'bar/evil.py:net'"),
        (Case("resnet50", "tuned:r.json", device="fake"), "no form is called 'tuned:r.json'"),
    ],
)
def test_what_is_no_case_here_is_refused_and_not_measured(worker, tmp_path, case, message):
    here, _ = worker.group()
    (found,) = worker.ask(errand(here, [case]))
    assert isinstance(found, Refused)
    assert message in found.message
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"errand"}', '{"format":1}', "null"])
def test_what_is_no_question_is_refused(worker, text):
    (found,) = worker.say(text)
    assert isinstance(found, Refused)


def test_a_users_file_runs_only_if_its_hash_is_allowed(worker, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    question = Offer("fake", Suite(models=("net.py:net",), batch=(1,)))
    (found,) = worker.ask(question)
    digest = hashlib.sha256(NET.encode()).hexdigest()
    assert isinstance(found, Refused)
    assert f"--allow {digest}" in found.remedy
    assert not (tmp_path / "ran").exists()
    allowed = Worker(tmp_path / "store", digest)
    here, cases = allowed.group(question.suite)
    assert allowed.records(errand(here, cases))
    (tmp_path / "net.py").write_text(NET + "\n")
    assert isinstance(allowed.ask(question)[0], Refused)
    assert isinstance(allowed.ask(errand(here, cases))[0], Refused)


@pytest.mark.parametrize("name", ["collections:OrderedDict", "resnet50@tuned:r.toml"])
def test_code_of_packages_and_recipes_do_not_travel(worker, name):
    assert isinstance(worker.ask(Offer("fake", Suite(models=(name,))))[0], Refused)


def test_weights_need_a_hash_too(worker, tmp_path):
    (tmp_path / "w.pt").write_bytes(b"x")
    for question in (
        Offer("fake", Suite(models=("resnet50+w.pt",))),
        Offer("fake", Suite(models=("resnet50",)), weights="w.pt"),
    ):
        (found,) = worker.ask(question)
        assert isinstance(found, Refused)
        assert "--allow" in found.remedy
