"""What a worker answers to JSON: cases, records, and refusals. Dask is not needed for it."""

import msgspec
import pytest

from bench.fleet import task
from bench.fleet.errand import Answer, Errand, Measured, Offer, Offered, Refused, Sent, to_json
from bench.fleet.task import Place
from bench.harness.plan import PRESETS
from bench.harness.suite import Suite
from bench.models.user.content import file_hash
from bench.records import Case, Environment, Measurement
from bench.storage import reader

SUITE = Suite(models=("resnet50", "swin_t"), batch=(1, 2))
PLAN = PRESETS["quick"].exactly(2)


@pytest.fixture
def sent(tmp_path, monkeypatch):
    """This process as a worker with the fake device; the list of what it has sent."""
    found = []
    place = Place(("fake",), tmp_path / "store", frozenset(), lambda *each: found.append(each))
    monkeypatch.setattr(task, "_here", [place])
    monkeypatch.chdir(tmp_path)
    return found


def ask(question):
    return msgspec.json.decode(task.answer(to_json(question)), type=Answer)


def errand(cases, **changes):
    return Errand("fake", list(cases), PLAN, [], "topic", "bench fleet run", **changes)


def test_an_offer_names_the_cases_by_group(sent):
    found = ask(Offer("fake", SUITE))
    assert isinstance(found, Offered)
    assert [[(c.model, c.batch) for c in group] for group in found.groups] == [
        [("resnet50", 1), ("swin_t", 1)],
        [("resnet50", 2), ("swin_t", 2)],
    ]
    assert found.chip.name == "fake"


def test_records_are_sent_as_they_are_made_and_returned_at_the_end(sent):
    group = ask(Offer("fake", SUITE)).groups[0]
    found = ask(errand(group))
    assert isinstance(found, Measured)
    streamed = [msgspec.json.decode(text, type=Sent) for topic, text in sent if topic == "topic"]
    assert sorted(each.record for each in streamed) == sorted(found.records)
    records = [reader.checked(line.encode()) for line in found.records]
    assert sum(isinstance(each, Measurement) for each in records) == 4
    assert isinstance(records[0], Environment)
    assert records[0].command == "bench fleet run"


def test_a_worker_goes_on_after_the_records_that_the_client_has(sent, tmp_path, monkeypatch):
    group = ask(Offer("fake", SUITE)).groups[0]
    whole = ask(errand(group)).records
    rounds = [line for line in whole if '"type":"measurement"' in line]
    other = Place(("fake",), tmp_path / "other", frozenset(), lambda *each: sent.append(each))
    monkeypatch.setattr(task, "_here", [other])
    sent.clear()
    known = [whole[0], *rounds[:3]]
    found = ask(msgspec.structs.replace(errand(group), known=known))
    made = [msgspec.json.decode(text, type=Sent).record for _, text in sent]
    assert sum('"type":"measurement"' in line for line in made) == 1
    assert sum('"type":"measurement"' in line for line in found.records) == 4


def test_the_same_errand_again_measures_nothing(sent):
    group = ask(Offer("fake", SUITE)).groups[0]
    first = ask(errand(group)).records
    sent.clear()
    assert ask(errand(group)).records == first
    assert [text for _, text in sent if "measurement" in text] == []


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Offer("orin", SUITE), "does not measure on orin"),
        (Offer("fake", Suite(models=("nobody",))), "unknown model 'nobody'"),
        (errand([Case("nobody", "plain", device="fake")]), "unknown model 'nobody'"),
        (errand([Case("resnet50", "srep", device="fake")]), "srep"),
        (errand([Case("resnet50", "plain", device="cpu")]), "is no case on this worker"),
        (errand([Case("resnet50", "plain", device="fake", backend="no")]), "backend 'no'"),
        (Offer("fake", SUITE, format=99), "too old"),
    ],
)
def test_what_is_no_case_here_is_refused_and_not_measured(sent, question, message):
    found = ask(question)
    assert isinstance(found, Refused)
    assert message in found.message
    assert sent == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"errand"}', '{"format":1}', "null"])
def test_what_is_no_question_is_refused(sent, text):
    found = msgspec.json.decode(task.answer(text), type=Answer)
    assert isinstance(found, Refused)


def test_a_process_that_is_no_worker_of_ours_refuses(monkeypatch):
    monkeypatch.setattr(task, "_here", [])
    found = ask(Offer("fake", SUITE))
    assert found.message == "a worker of somebody else was asked"


NET = """
import pathlib
pathlib.Path("ran").touch()
from torch import nn
def net():
    return nn.Conv2d(3, 8, 3)
"""


def test_a_users_file_runs_only_if_its_hash_is_allowed(sent, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    question = Offer("fake", Suite(models=("net.py:net",), batch=(1,)))
    found = ask(question)
    digest = file_hash(tmp_path / "net.py")
    assert isinstance(found, Refused)
    assert f"--allow {digest}" in found.remedy
    assert not (tmp_path / "ran").exists()
    (place,) = task._here
    monkeypatch.setattr(task, "_here", [place._replace(allowed=frozenset({digest}))])
    assert isinstance(ask(question), Offered)
    (tmp_path / "net.py").write_text(NET + "\n")
    assert isinstance(ask(question), Refused)


@pytest.mark.parametrize("name", ["collections:OrderedDict", "resnet50@tuned:r.toml"])
def test_code_of_packages_and_recipes_do_not_travel(sent, name):
    assert isinstance(ask(Offer("fake", Suite(models=(name,)))), Refused)


def test_weights_need_a_hash_too(sent, tmp_path):
    (tmp_path / "w.pt").write_bytes(b"x")
    found = ask(Offer("fake", Suite(models=("resnet50+w.pt",), batch=(1,))))
    assert isinstance(found, Refused)
    assert "--allow" in found.remedy


def test_an_error_of_the_worker_is_an_answer_and_no_lost_connection(sent, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(task.runner, "run", fail)
    found = ask(errand(ask(Offer("fake", SUITE)).groups[0]))
    assert isinstance(found, Refused)
    assert "No space left" in found.message
    assert "Traceback" in capsys.readouterr().err
