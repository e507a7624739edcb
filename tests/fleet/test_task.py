"""The process that answers the questions of a worker: it is kept, and ended when unwanted."""

import pytest

from bench.fleet import task
from bench.fleet.errand import Errand, Made, Offer, Offered, sent_of, to_json
from bench.fleet.task import Measurer
from bench.fleet.validation import Station
from bench.harness.plan import PRESETS
from bench.harness.suite import Suite

SUITE = Suite(models=("resnet50", "swin_t"), batch=(1,))
NAME = "0123456789abcdef"


@pytest.fixture
def measurer(tmp_path):
    with Measurer(Station(["fake"], str(tmp_path / "store"))) as found:
        yield found
    assert found._process is None


def answers(measurer, question, is_wanted=lambda: True):
    return [sent_of(line).body for line in measurer.answer(to_json(question), is_wanted)]


def errand(measurer, **changes):
    (offered,) = answers(measurer, Offer("fake", SUITE))
    assert isinstance(offered, Offered)
    plan = PRESETS["quick"].exactly(2, **changes)
    here = offered.environment.environment_id
    return Errand("fake", here, offered.groups[0], plan, NAME, "bench fleet run")


def test_one_process_answers_one_question_after_another(measurer):
    process = measurer._process
    question = errand(measurer)
    assert len(answers(measurer, question)) == 1 + 2 * 2  # a run, and two rounds of two cases
    assert len(answers(measurer, question)) == 1 + 2 * 2
    assert measurer._process is process


def test_an_answer_that_nobody_wants_ends_its_process_and_keeps_the_rounds(measurer):
    question = errand(measurer, pace_s=0.2)
    process, lines = measurer._process, []
    for line in measurer.answer(to_json(question), lambda: len(lines) < 2):
        lines.append(line)
    assert len(lines) < 1 + 2 * 2
    assert process.poll() is not None
    again = [each.record for each in answers(measurer, question) if isinstance(each, Made)]
    assert {sent_of(line).body.record for line in lines} < set(again)
    assert measurer._process is not process


def test_a_process_that_dies_ends_the_answer(measurer, monkeypatch):
    question = errand(measurer, pace_s=0.2)
    for number, _ in enumerate(measurer.answer(to_json(question), lambda: True)):
        if number == 1:
            measurer._process.kill()
    assert measurer._process is None
    assert answers(measurer, question)


def test_a_process_that_is_no_worker_of_ours_answers_nothing(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "get_worker", object)
    assert task.answer("topic", "{}") is None
