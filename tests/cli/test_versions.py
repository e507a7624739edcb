"""`bench run` in a folder with records of another version: its message, and what it measures."""

import csv
import json

import msgspec
import pytest
from support.records import ENVIRONMENT

from bench import __version__
from bench.cli.versions import version_change

RUN = ("run", "--device", "fake", "--rounds", "1", "--batch", "1", "--out", "out", "--models")
TODAY = msgspec.structs.replace(
    ENVIRONMENT,
    environment_id="today",
    versions={"torch": "2.6", "timm": "1.0", "bench": "0.2.0", "python": "3.12"},
    started_at="2026-03-01T00:00:00+00:00",
)


def earlier(month, **versions):
    return msgspec.structs.replace(
        TODAY,
        environment_id=f"environment {month}",
        versions=TODAY.versions | versions,
        started_at=f"2026-{month:02}-01T00:00:00+00:00",
    )


def test_version_prints_name_and_version(bench):
    done = bench("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"bench {__version__}\n", "")


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"bench": "0.1.0"}, "The version changed: bench 0.1.0 to 0.2.0. "),
        ({"torch": "2.5"}, "The version changed: torch 2.5 to 2.6. "),
        (
            {"bench": "0.1.0", "torch": "2.5", "timm": None},
            "The version changed: bench 0.1.0 to 0.2.0, timm none to 1.0, torch 2.5 to 2.6. ",
        ),
    ],
)
def test_each_changed_version_is_named(versions, said):
    assert version_change([earlier(1, **versions)], TODAY).startswith(said)


def test_a_changed_variable_is_named():
    limited = msgspec.structs.replace(earlier(1), variables={"OMP_THREAD_LIMIT": "1"})
    said = "The environment changed: OMP_THREAD_LIMIT 1 to none. Earlier rounds"
    assert version_change([limited], TODAY).startswith(said)


def test_there_is_no_message_if_no_version_changed():
    assert version_change([], TODAY) is None
    assert version_change([TODAY], TODAY) is None
    assert (
        version_change([earlier(1)], TODAY) is None
    )  # another environment for another reason, such as the power mode
    assert version_change([earlier(1, python="3.11")], TODAY) is None


def test_there_is_no_message_if_this_version_is_on_record():
    assert version_change([earlier(1, bench="0.1.0"), TODAY], TODAY) is None
    assert version_change([TODAY, earlier(4, bench="0.3.0")], TODAY) is None


def test_the_message_names_the_version_of_the_last_run():
    runs = [earlier(1, bench="0.1.0"), earlier(2, bench="0.1.5"), earlier(1, bench="0.1.1")]
    assert "bench 0.1.1 to 0.2.0" in version_change(runs, TODAY), "by the file, not by the date"


@pytest.fixture
def old(bench, tmp_path):
    """A file of results as version 0.1.0 wrote it: (path, bytes)."""
    assert bench(*RUN, "resnet50,fault/nan").returncode == 1
    path = tmp_path / "out" / "fake" / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["environment_id"] = "0123456789abcdef"
        if line["type"] == "environment":
            line["versions"]["bench"] = "0.1.0"
            line["started_at"] = "2026-01-01T00:00:00+00:00"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path, path.read_bytes()


def test_a_run_says_once_that_the_version_changed_and_measures_again(bench, old):
    path, before = old
    said = f"The version changed: bench 0.1.0 to {__version__}. Earlier rounds stay on record"
    done = bench(*RUN, "resnet50")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(said)
    assert "1 to measure" in lines[2]
    assert path.read_bytes().startswith(before)
    kinds = [json.loads(line)["type"] for line in path.read_bytes()[len(before) :].splitlines()]
    assert kinds == ["environment", "measurement"]

    again = bench(*RUN, "resnet50,swin_t")
    assert "version" not in again.stdout
    assert "1 on record, 1 to measure" in again.stdout


def test_a_run_in_a_new_folder_does_not_mention_versions(bench):
    assert "version" not in bench(*RUN, "resnet50").stdout


@pytest.mark.usefixtures("without_figures")
def test_a_report_has_unchanged_old_rows_next_to_the_new_rows(bench, old):
    path, _ = old

    def rows():
        assert bench("report", "out").returncode == 0
        return list(csv.DictReader((path.parent / "results.csv").read_text().splitlines()))

    before = rows()
    assert [row["model"] for row in before] == ["fault/nan", "resnet50"]
    assert bench(*RUN, "resnet50").returncode == 0
    after = rows()
    assert [row for row in after if row["environment_id"] == "0123456789abcdef"] == before
    assert len(after) == 3
