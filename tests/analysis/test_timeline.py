"""A case over time: points, changes that are decided, and what is no change."""

import random

import msgspec
import pytest
from support.records import ENVIRONMENT, OBSERVED, TAKEN, failure, rounds
from support.results import write

from bench.analysis.timeline import timelines
from bench.errors import UsageError
from bench.records import Case
from bench.report import timelines as pages

CODE = "net.py:net#{:08x}"


def at(day, model, latencies_ms, *, label="", versions=None, **changes):
    """The records of one run: an environment and rounds."""
    run_id = f"run-{day:02}"
    name = model.format(day) if "{" in model else model
    environment = msgspec.structs.replace(
        ENVIRONMENT,
        run_id=run_id,
        environment_id=f"env-{versions or '2.0'}",
        versions={"torch": versions or "2.0"},
        started_at=f"2026-01-{day:02}T00:00:00+00:00",
        labels={name: label} if label else {},
    )
    own = rounds(
        name,
        latencies_ms=latencies_ms,
        run_id=run_id,
        environment_id=environment.environment_id,
        **{**OBSERVED, **changes},
    )
    return [environment, *own]


def written(root, *runs):
    """One folder for each run."""
    folders = []
    for number, records in enumerate(runs):
        folder = root / f"results-{number}"
        write(folder / "chip", records)
        folders.append(folder)
    return folders


def steady(ms):
    return [ms * factor for factor in (0.99, 1.0, 1.01, 1.0)]


def test_runs_of_several_folders_are_points_in_the_order_of_their_dates(tmp_path):
    folders = written(
        tmp_path,
        at(3, CODE, steady(12.0), label="third"),
        at(1, CODE, steady(10.0), label="first"),
        at(2, CODE, steady(10.0)),
    )
    (found,) = timelines(folders, "net.py:net").timelines
    assert [point.label for point in found.points] == ["first", "2026-01-02 00:00", "third"]
    assert found.case.model == "net.py:net"
    first, second, third = found.points
    assert first.against is None
    assert second.against.finding == "SAME"
    assert (third.against.finding, third.reference, third.is_change) == ("SLOWER", "first", True)
    assert third.changes == ["the code of the network"]
    assert "third is SLOWER than first by 1.20" in pages.sentence(found)


def test_a_version_of_torch_is_a_point_of_its_own_in_one_file(tmp_path):
    records = [
        *at(1, "resnet50", steady(10.0), versions="2.0"),
        *at(2, "resnet50", steady(8.0), versions="2.1"),
    ]
    (found,) = timelines(written(tmp_path, records), "resnet50").timelines
    assert len(found.points) == 2
    assert found.points[1].changes == ["torch 2.0 → torch 2.1"]
    assert found.points[1].against.finding == "FASTER"


def test_small_steps_are_decided_once_they_are_large_together(tmp_path):
    runs = [at(day, CODE, steady(10.0 * 1.012**day)) for day in range(1, 12)]
    (found,) = timelines(written(tmp_path, *runs), "net.py:net").timelines
    changes = [place for place, point in enumerate(found.points) if point.is_change]
    assert len(changes) >= 2
    references = {found.points[place].reference for place in changes}
    assert len(references) == len(changes)  # it moves


def test_an_invalid_point_is_shown_and_is_neither_a_change_nor_a_reference(tmp_path):
    runs = [
        at(1, CODE, steady(10.0)),
        at(2, CODE, steady(20.0), conditions=TAKEN),
        at(3, CODE, steady(10.0)),
    ]
    (found,) = timelines(written(tmp_path, *runs), "net.py:net").timelines
    assert [point.is_change for point in found.points] == [False] * 3
    assert found.points[2].against.finding == "SAME"
    assert "| INVALID" in pages.to_markdown([found])


def test_a_run_that_two_folders_hold_counts_once(tmp_path):
    run = at(1, CODE, steady(10.0))
    (found,) = timelines(written(tmp_path, run, run), "net.py:net").timelines
    assert len(found.points) == 1
    assert pages.sentence(found).startswith("One point")


def test_of_one_machine_at_most_a_twentieth_of_the_points_are_false_changes(tmp_path):
    """Runs drift from day to day; their kernels show the drift."""
    random_ = random.Random(4)
    false = points = 0
    for trial in range(20):
        runs = []
        for day in range(1, 11):
            drift = random_.gauss(0, 0.04)
            factors = [2.718281828 ** (drift + random_.gauss(0, 0.02)) for _ in range(5)]
            kernels = [1e-3 * 2.718281828**drift]
            records = at(
                day,
                CODE,
                [10.0 * factor for factor in factors],
                block_compute_s=kernels,
                block_memory_s=kernels,
            )
            runs.append(records)
        (found,) = timelines(written(tmp_path / str(trial), *runs), "net.py:net").timelines
        false += sum(point.is_change for point in found.points)
        points += len(found.points) - 1
    assert false / points <= 0.05


def test_forms_and_batches_are_timelines_of_their_own(tmp_path):
    run = [
        *at(1, "repnext_u3_t", steady(10.0)),
        *rounds("repnext_u3_t", "srep", latencies_ms=steady(8.0), run_id="run-01", **OBSERVED),
        *rounds("repnext_u3_t", latencies_ms=steady(80.0), batch=8, run_id="run-01", **OBSERVED),
    ]
    folders = written(tmp_path, run)
    assert len(timelines(folders, "repnext_u3_t").timelines) == 3
    (found,) = timelines(folders, "repnext_u3_t@srep").timelines
    assert found.case.form == "srep"


def test_a_name_without_records_is_one_message_that_lists_the_cases(tmp_path):
    folders = written(tmp_path, at(1, CODE, steady(10.0)))
    with pytest.raises(UsageError) as caught:
        timelines(folders, "resnet50")
    assert "no measured case named 'resnet50'" in caught.value.message
    assert caught.value.remedy == "Cases on record: net.py:net"


def test_metrics_of_the_newest_point_have_the_units_of_the_dashboard(tmp_path):
    folders = written(tmp_path, at(1, CODE, steady(9.0)), at(2, CODE, steady(10.0), batch=2))
    found = timelines(folders, "net.py:net batch 2").timelines
    ((name, values),) = pages.metrics(found).items()
    assert name == "net.py:net batch 2 on Test Chip 9000"
    latency, throughput = values["latency"], values["throughput"]
    assert latency["value"] == pytest.approx(10e6)
    assert latency["lower_value"] < 10e6 < latency["upper_value"]
    assert throughput["value"] == pytest.approx(200.0)
    assert throughput["lower_value"] == pytest.approx(2e9 / latency["upper_value"])


def test_the_pages_are_written_and_equal_each_time(tmp_path):
    folders = written(tmp_path, at(1, CODE, steady(10.0)), at(2, CODE, steady(12.0)))
    found = timelines(folders, "net.py:net").timelines
    contents = []
    for name in ("one", "two"):
        paths = pages.write(found, tmp_path / name, 0.02)
        contents.append({path.name: path.read_bytes() for path in paths})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"history.md", "history.json", "history.png"}


def test_a_label_is_a_point_and_a_name(tmp_path):
    """A commit that changes no code is a point of its own, if it was measured."""
    records = [
        *at(1, "net.py:net#0000000a", steady(10.0), label="v1"),
        *at(2, "net.py:net#0000000a", steady(10.0), label="v2"),
        *at(3, "net.py:net#0000000a", steady(10.0)),
    ]
    folders = written(tmp_path, records)
    (found,) = timelines(folders, "net.py:net").timelines
    assert [(point.label, len(point.rounds)) for point in found.points] == [("v1", 4), ("v2", 8)]
    (named,) = timelines(folders, "v2").timelines
    assert [point.label for point in named.points] == ["v2"]


def test_two_numbers_of_threads_have_two_names(tmp_path):
    run = [*at(1, "resnet50", steady(10.0)), *at(1, "resnet50", steady(19.0), threads=1)[1:]]
    found = timelines(written(tmp_path, run), "resnet50").timelines
    assert pages.names(found) == [
        "resnet50 on Test Chip 9000",
        "resnet50 1 thread on Test Chip 9000",
    ]
    assert len(pages.metrics(found)) == 2


def test_an_invalid_point_is_no_metric(tmp_path):
    valid, busy = at(1, CODE, steady(10.0)), at(2, CODE, steady(20.0), conditions=TAKEN)
    found = timelines(written(tmp_path / "both", valid, busy), "net.py:net").timelines
    ((_, values),) = pages.metrics(found).items()
    assert values["latency"]["value"] == pytest.approx(10e6)
    alone = timelines(written(tmp_path / "alone", busy), "net.py:net").timelines
    assert pages.metrics(alone) == {}
    assert pages.without_metrics(alone) == ["net.py:net on Test Chip 9000"]


def test_a_case_that_only_failed_says_so(tmp_path):
    case = Case("resnet50", "plain", threads=2)
    folders = written(tmp_path, [ENVIRONMENT, failure(case)])
    with pytest.raises(UsageError, match="it failed at check: CheckError"):
        timelines(folders, "resnet50")
