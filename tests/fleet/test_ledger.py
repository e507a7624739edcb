"""Each record once, whichever machine made it."""

import contextlib

import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, failure, measurement

from bench.fleet.ledger import Ledger
from bench.storage.reader import FlawedLineError
from bench.storage.results import Store


def line_of(record, **changes):
    return msgspec.json.encode(msgspec.structs.replace(record, **changes)).decode()


@pytest.fixture
def ledger(tmp_path):
    store = Store(tmp_path / "chip")
    store.open()
    with contextlib.closing(store):
        yield Ledger(store)


def test_a_round_of_an_environment_is_taken_once_whoever_made_it(ledger):
    first = measurement(CASE)
    assert ledger.add(line_of(first)) is not None
    assert ledger.add(line_of(first, run_id="other", samples_s=[0.02] * 3)) is None
    assert ledger.add(line_of(first, round=2)) is not None
    assert ledger.add(line_of(first, environment_id="other")) is not None
    assert ledger.add(line_of(first, generation=1)) is not None


def test_what_is_on_record_is_not_taken_again(tmp_path, ledger):
    ledger.add(line_of(measurement(CASE)))
    again = Ledger(ledger._store)
    assert again.add(line_of(measurement(CASE))) is None


def test_a_failure_does_not_follow_the_round_that_succeeded(ledger):
    assert ledger.add(line_of(measurement(CASE))) is not None
    assert ledger.add(line_of(failure(CASE))) is None


def test_a_round_that_succeeds_follows_its_failure(ledger):
    assert ledger.add(line_of(failure(CASE))) is not None
    assert ledger.add(line_of(measurement(CASE))) is not None


def test_a_record_of_a_future_schema_is_refused(ledger):
    with pytest.raises(FlawedLineError) as refused:
        ledger.add(line_of(measurement(CASE), schema=99))
    assert refused.value.flaw.name == "SCHEMA"


def test_the_lines_of_cases_have_their_runs(ledger):
    ledger.add(line_of(ENVIRONMENT))
    ledger.add(line_of(ENVIRONMENT, run_id="idle"))
    ledger.add(line_of(measurement(CASE)))
    kinds = [msgspec.json.decode(line)["type"] for line in ledger.lines([CASE], "env")]
    assert kinds == ["environment", "measurement"]
