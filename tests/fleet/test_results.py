"""What a client takes from workers: each record once, and nothing that was not asked for."""

import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, failure, measurement

from bench.fleet.errand import Offered, to_json
from bench.harness.plan import PRESETS
from bench.records import Case
from bench.storage import reader

ONE, TWO = (PRESETS["quick"].exactly(count) for count in (1, 2))
LAST = msgspec.structs.replace(measurement(CASE, 2), stopped_by="rounds")


def opened(results, **how):
    return results.open(
        Offered(ENVIRONMENT, [[CASE]]), **{"retry_failed": False, "again": False, **how}
    )


def take(results, *records):
    return [results.take(to_json(record), "9.9") for record in records]


def on_record(machine):
    found, skipped = reader.read(machine.store.path)
    assert skipped == []
    return found


def test_each_record_is_appended_once(results):
    machine = opened(results)
    take(results, ENVIRONMENT, measurement(CASE), LAST)
    assert not machine.lacks(CASE, TWO)
    take(results, LAST, measurement(CASE), ENVIRONMENT)
    take(results, msgspec.structs.replace(measurement(CASE), run_id="other"))
    assert on_record(machine) == [ENVIRONMENT, measurement(CASE), LAST]


def test_a_record_of_a_future_schema_is_named_and_the_rest_is_taken(results):
    machine = opened(results)
    future = msgspec.structs.replace(measurement(CASE), schema=99)
    assert take(results, ENVIRONMENT, future, LAST) == [True, False, True]
    assert results.unread == ["a record of a worker with bench 9.9 was left out: schema 99, not 1"]
    assert on_record(machine) == [ENVIRONMENT, LAST]


def test_what_is_no_record_is_named(results):
    assert results.take('{"type": "measurement"}', "9.9") is False
    assert "bench 9.9" in results.unread[0]


@pytest.mark.parametrize(
    "record",
    [
        measurement(Case("swin_t", "plain")),
        msgspec.structs.replace(measurement(CASE), environment_id="elsewhere"),
        msgspec.structs.replace(
            ENVIRONMENT, chip=msgspec.structs.replace(ENVIRONMENT.chip, name="Another chip")
        ),
    ],
)
def test_what_was_not_asked_for_is_not_taken(results, record):
    machine = opened(results)
    take(results, record)
    assert on_record(machine) == []


def test_a_case_lacks_rounds_until_its_last_one(results):
    machine = opened(results)
    assert machine.lacks(CASE, TWO)
    take(results, measurement(CASE))
    assert machine.lacks(CASE, TWO)
    take(results, LAST)
    assert not machine.lacks(CASE, TWO)


def test_a_case_that_failed_is_done_unless_it_is_retried(results):
    machine = opened(results)
    take(results, failure(CASE))
    assert not machine.lacks(CASE, TWO)
    again = opened(results, retry_failed=True)
    assert again.lacks(CASE, TWO)
    assert again.retried([CASE]) == [CASE.case_id]
    take(results, msgspec.structs.replace(failure(CASE), run_id="other"))
    assert not again.lacks(CASE, TWO)
    assert again.retried([CASE]) == []


def test_again_asks_for_the_next_generation(results):
    opened(results)
    take(results, LAST)
    again = opened(results, again=True)
    assert again.generations == {CASE.case_id: 1}
    assert again.lacks(CASE, ONE)
    take(results, msgspec.structs.replace(LAST, generation=1))
    assert not again.lacks(CASE, ONE)
