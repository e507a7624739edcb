"""Each record once, whichever machine made it."""

import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, failure, measurement

from bench.fleet.ledger import Ledger

ROUND, FAILED = measurement(CASE), failure(CASE)


def other(record, **changes):
    return msgspec.structs.replace(record, **{"run_id": "other", **changes})


def test_a_round_of_an_environment_is_taken_once_whoever_made_it():
    ledger = Ledger([])
    assert ledger.add(ROUND)
    assert not ledger.add(ROUND)
    assert not ledger.add(other(ROUND, samples_s=[0.02] * 3))
    assert ledger.add(other(ROUND, round=2))
    assert ledger.add(other(ROUND, environment_id="there"))
    assert ledger.add(other(ROUND, generation=1))


@pytest.mark.parametrize("record", [ROUND, FAILED, ENVIRONMENT])
def test_what_is_on_record_is_not_taken_again(record):
    assert not Ledger([record]).add(record)


def test_a_round_and_its_failure_are_two_records():
    ledger = Ledger([FAILED])
    assert ledger.add(ROUND)
    assert not ledger.add(other(FAILED))


def test_a_failure_that_is_retried_makes_room_for_one_more():
    ledger = Ledger([FAILED], retried={CASE.case_id})
    assert ledger.is_open(FAILED)
    assert not ledger.add(FAILED)
    assert ledger.add(other(FAILED))
    assert not ledger.add(other(FAILED, run_id="third"))
    assert not ledger.is_open(FAILED)


def test_each_run_has_its_own_environment():
    ledger = Ledger([ENVIRONMENT])
    assert ledger.add(other(ENVIRONMENT))
    assert not ledger.add(other(ENVIRONMENT))
