from msgspec import structs
from support.records import CASE, ENVIRONMENT, evaluation, failure, measurement

from bench.analysis.evaluations import latest
from bench.storage.history import history
from bench.storage.order import disagreements, environment_ids
from bench.storage.pool import Repeats, pool

FIRST = structs.replace(ENVIRONMENT, run_id="first", started_at="2026-01-01")
SECOND = structs.replace(ENVIRONMENT, run_id="second", started_at="2026-01-02")
ONE = measurement(CASE, 1, run_id="first", samples_s=[0.01])
TWO = measurement(CASE, 1, run_id="second", samples_s=[0.02])


def pooled_rounds(*files):
    """The rounds of CASE when these files are pooled, which is the same in any order."""
    found = history(pool(files).records, CASE, "env")
    assert history(pool(files[::-1]).records, CASE, "env") == found
    return found.rounds


def test_rounds_of_two_runs_with_the_same_number_both_count():
    assert pooled_rounds([FIRST, ONE], [SECOND, TWO]) == [ONE, TWO]
    assert pooled_rounds([SECOND, TWO, FIRST, ONE]) == [TWO, ONE], "within a file its order counts"


def test_a_resumed_copy_has_the_rounds_of_its_original_once():
    more = measurement(CASE, 2, run_id="second")
    assert pooled_rounds([FIRST, ONE], [FIRST, ONE, SECOND, more]) == [ONE, more]
    other = structs.replace(SECOND, run_id="third")
    branch = measurement(CASE, 2, run_id="third")
    found = pooled_rounds([FIRST, ONE, SECOND, more], [FIRST, ONE, other, branch])
    assert sorted(found, key=lambda each: (each.round, each.run_id)) == [ONE, more, branch]


def test_repeated_lines_are_counted_by_file():
    found = pool([[FIRST, ONE], [FIRST, ONE, SECOND, TWO, TWO]])
    assert found.repeats == [Repeats(0, 1, 2), Repeats(1, 1, 1)]
    assert found.records == [FIRST, ONE, SECOND, TWO]


def test_again_replaces_the_rounds_of_its_own_file_and_their_copies():
    anew = structs.replace(TWO, generation=1)
    alone = measurement(CASE, 1, run_id="third")
    assert [each.samples_s for each in pooled_rounds([FIRST, ONE, SECOND, anew])] == [[0.02]]
    assert [each.samples_s for each in pooled_rounds([FIRST, ONE], [FIRST, ONE, SECOND, anew])] == [
        [0.02]
    ]
    several = pooled_rounds([FIRST, ONE, alone], [FIRST, ONE, SECOND, anew])
    assert sorted(each.run_id for each in several) == ["second", "third"]


def test_a_failure_counts_only_until_a_later_run_of_another_folder():
    """The order of the runs of a case decides, also where the files were last used otherwise."""
    failed = failure(CASE, run_id="first")
    third = structs.replace(ENVIRONMENT, run_id="third", started_at="2026-01-03")
    other = measurement(structs.replace(CASE, batch=2), run_id="third")
    assert pooled_rounds([FIRST, failed, third, other], [SECOND, TWO]) == [TWO]
    records = pool([[FIRST, failed, third, other], [SECOND, TWO]]).records
    assert history(records, CASE, "env").failure is None


def test_the_latest_environment_is_that_of_the_file_whose_last_run_began_last():
    away = structs.replace(TWO, environment_id="away")
    there = structs.replace(SECOND, environment_id="away")
    assert environment_ids(pool([[FIRST, ONE], [there, away]]).records) == ["env", "away"]
    assert environment_ids(pool([[there, away], [FIRST, ONE]]).records) == ["env", "away"]
    assert environment_ids(pool([[there, away, FIRST, ONE]]).records) == ["away", "env"]


def test_runs_of_one_start_are_ordered_by_their_run_id():
    there = structs.replace(SECOND, environment_id="away", started_at=FIRST.started_at)
    away = structs.replace(TWO, environment_id="away")
    for files in ([[FIRST, ONE], [there, away]], [[there, away], [FIRST, ONE]]):
        assert environment_ids(pool(files).records) == ["env", "away"]


def test_dates_that_contradict_the_order_of_a_file():
    assert list(disagreements([SECOND, TWO, FIRST, ONE])) == [("2026-01-02", "2026-01-01")]
    assert list(disagreements([FIRST, ONE, SECOND, TWO])) == []


def test_the_evaluation_of_the_later_run_counts_also_where_files_were_last_used_otherwise():
    early = evaluation(CASE, 1, run_id="first")
    late = evaluation(CASE, 2, run_id="second")
    third = structs.replace(ENVIRONMENT, run_id="third", started_at="2026-01-03")
    other = measurement(structs.replace(CASE, batch=2), run_id="third")
    files = [[FIRST, early, third, other], [SECOND, late]]
    assert latest(pool(files).records).made == [late]
    assert latest(pool(files[::-1]).records).made == [late]
