"""Records of several folders: nothing depends on the order of the folders, and no line is lost."""

import errno
import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec import structs
from support import stores
from support.records import CASE, ENVIRONMENT, NEIGHBOUR, failure, measurement
from support.results import write

from bench.analysis.gather import gather
from bench.analysis.recorded import latest
from bench.analysis.tally import LeftOut, tally
from bench.records import Case, Environment, Measurement
from bench.report import devices
from bench.storage.pool import pool
from bench.storage.reader import FILE_NAME

OTHER = Case("swin_t", "plain")
DRAWN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def shown(records) -> int:
    """The number of records that the pages of a device show, counted on the pages' own input."""
    every = devices.of("chip", records)
    ids = {each.environment.environment_id for each in every}
    numbers = [len(row.rounds) if row.summary else 1 for each in every for row in each.rows]
    numbers += [len(p.rounds) + bool(p.failure) for each in every for p in each.profiles]
    peaks = {id(found) for each in every for found in each.peaks.values()}
    runs = [each for each in records if isinstance(each, Environment)]
    return sum(numbers) + len(peaks) + sum(each.environment_id in ids for each in runs)


@DRAWN
@given(stores.files())
def test_every_line_is_used_or_counted_with_its_reason(several):
    with tempfile.TemporaryDirectory() as root:
        (device,) = gather(stores.written(Path(root), several)).devices
    found = device.tally
    assert found.lines == sum(map(len, several))
    assert found.used == shown(device.records)
    lines = [line for lines in several for line in lines]
    assert found.left_out[LeftOut.FLAWED] == sum(line.record is None for line in lines)
    distinct = {line.text for line in lines if line.record is not None}
    records = sum(line.record is not None for line in lines)
    assert found.left_out[LeftOut.REPEATED] == records - len(distinct)


@DRAWN
@given(stores.files())
def test_any_order_of_the_folders_gives_the_same(several):
    with tempfile.TemporaryDirectory() as root:
        folders = stores.written(Path(root), several)
        first = gather(folders)
        for order in itertools.permutations(folders):
            assert gather(order) == first
    files = [[line.record for line in lines if line.record is not None] for lines in several]
    for order in itertools.permutations(files):
        assert pool(order).records == first.devices[0].records, "nor on the folders' names"


def is_calm(line):
    return not line.generation and not line.record.disturbed_by


def key(record):
    return (record.environment_id, record.case_id, record.run_id, record.round)


@DRAWN
@given(stores.files())
def test_without_failures_and_again_every_calm_round_of_every_run_counts(several):
    """Against a reference of one line: a round is a run, its number and its case."""
    kept = [
        [line for line in lines if isinstance(line.record, Measurement) and is_calm(line)]
        for lines in several
    ]
    with tempfile.TemporaryDirectory() as root:
        (device,) = gather(stores.written(Path(root), kept)).devices
    rows = [row for each in devices.of("chip", device.records) for row in each.rows]
    found = [key(each) for row in rows for each in row.rounds]
    assert set(found) == {key(line.record) for lines in kept for line in lines}
    assert len(set(found)) == len(found)


def test_each_reason_is_named_with_its_count():
    failed = failure(CASE, run_id="a")
    other, third = (structs.replace(CASE, batch=batch) for batch in (2, 3))
    records = [
        structs.replace(ENVIRONMENT, environment_id="elsewhere"),
        ENVIRONMENT,
        measurement(CASE),
        failed,
        measurement(CASE, 1, generation=1),
        measurement(CASE, 1, generation=1, samples_s=[1.0]),
        measurement(other),
        failure(other),
        measurement(third, disturbed_by=[NEIGHBOUR]),
        measurement(third, 2, settings={"threads": 1}),
        measurement(third, 3, settings={"threads": 2}),
    ]
    assert tally(records, repeats=2, flawed=1).text == (
        "14 lines of results, 4 used; left out: 1 (not a record), 2 (the same as another line), "
        "2 (replaced by `--again`), 1 (a second record of a round), "
        "1 (a round that another network disturbed), 1 (a round with other settings), "
        "1 (a round of a case that failed later), 1 (an environment without a measurement)"
    )
    assert tally([ENVIRONMENT, measurement(CASE)]).text == "2 lines of results, all used"
    retried = tally([failed, measurement(CASE)])
    assert retried.left_out == {LeftOut.RETRIED: 1}


def clock_set_back(folder):
    """Write a file in which the run with the earlier date stands last; return its folder."""
    later = structs.replace(
        ENVIRONMENT, run_id="a", environment_id="first", started_at="2026-02-02"
    )
    earlier = structs.replace(ENVIRONMENT, run_id="b", started_at="2026-01-01")
    own = {"run_id": "a", "environment_id": "first"}
    records = [later, measurement(CASE, **own), earlier, measurement(CASE, run_id="b")]
    return write(folder / "chip", records)


def test_every_command_takes_the_same_run_for_the_latest(bench, tmp_path):
    out = clock_set_back(tmp_path / "out")
    (recorded,) = latest(out)
    (device,) = gather([out]).devices
    assert recorded.environment.environment_id == "env"
    assert devices.of("chip", device.records)[-1].environment.environment_id == "env"
    said = "the run of 2026-01-01 is recorded after the run of 2026-02-02, so a clock was wrong"
    assert said in bench("explain", "resnet50", "--in", "out").stderr
    assert bench("report", "out", "--to", "to").stderr.count(said) == 1
    for page in ("report.md", "report.html"):
        assert said in (tmp_path / "to" / page).read_text()
    assert "Environment env" in (tmp_path / "to" / "report.md").read_text()


def test_explain_and_report_agree_where_two_folders_have_the_name_of_one_device(tmp_path):
    """`chip/results.jsonl` and `chip/chip/results.jsonl` are one device."""
    old = structs.replace(ENVIRONMENT, run_id="a", environment_id="old", started_at="2025-01-01")
    write(tmp_path / "chip", [ENVIRONMENT, measurement(CASE)])
    write(tmp_path / "chip" / "chip", [old, measurement(CASE, run_id="a", environment_id="old")])
    (recorded,) = latest(tmp_path / "chip")
    (device,) = gather([tmp_path / "chip"]).devices
    assert recorded.environment == ENVIRONMENT
    assert [each.environment.environment_id for each in devices.of("chip", device.records)] == [
        "old",
        "env",
    ]


def damaged(folder, how):
    """Write a readable device and one that cannot be read; return the path that is named."""
    write(folder / "chip", [ENVIRONMENT, measurement(CASE), measurement(OTHER)])
    path = folder / "lost" / FILE_NAME
    if how == "a folder that links to itself":
        path.parent.symlink_to("lost")
        return path.parent
    if how == "a folder on a disk that is away":
        path.parent.symlink_to("away")
        return path.parent
    path.parent.mkdir()
    if how == "a link to a file that is away":
        path.symlink_to("away")
    elif how == "a folder in place of the file":
        path.mkdir()
    else:
        os.mkfifo(path)
    return path


WAYS = ["a folder that links to itself", "a folder on a disk that is away"]
WAYS += ["a link to a file that is away", "a folder in place of the file", "a pipe"]


@pytest.mark.parametrize("how", WAYS)
def test_a_device_that_cannot_be_read_is_named_and_the_rest_is_read(tmp_path, how):
    path = damaged(tmp_path, how)
    found = gather([tmp_path])
    assert [each.slug for each in found.devices] == ["chip"]
    (said,) = found.unreadable
    assert said.startswith(f"cannot read {path}: ")
    (recorded,) = latest(tmp_path)
    assert recorded.unreadable == [said]


@pytest.mark.parametrize("refused", ["stat", "listdir", "open"])
def test_a_folder_without_permission_is_named(tmp_path, monkeypatch, refused):
    """Also for a user who may read everything: the system calls refuse."""
    write(tmp_path / "chip", [ENVIRONMENT, measurement(CASE)])
    closed = write(tmp_path / "closed" / "lost", [ENVIRONMENT, measurement(CASE)]) / "lost"
    original = getattr(os, refused)

    def call(path, *arguments, **options):
        if str(path).startswith(str(closed)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr(os, refused, call)
    found = gather([tmp_path, closed.parent, closed])
    assert found.devices[0].slug == "chip"
    (said,) = found.unreadable
    assert said.startswith(f"cannot read {closed}")
    assert said.endswith(": Permission denied")


def test_what_is_no_device_is_not_named(tmp_path):
    """Locks of an editor, other folders and files are no devices."""
    write(tmp_path / "chip", [ENVIRONMENT, measurement(CASE)])
    (tmp_path / ".#report.md").symlink_to("somebody@somewhere.1234")
    (tmp_path / "traces").mkdir()
    (tmp_path / "report.md").write_text("")
    assert gather([tmp_path]).unreadable == []


def test_every_command_names_it_writes_the_rest_and_ends_with_2(bench, tmp_path):
    path = damaged(tmp_path / "out", "a folder in place of the file").relative_to(tmp_path)
    base = write(tmp_path / "base" / "chip", [ENVIRONMENT, measurement(CASE)])
    said = f"error: cannot read {path}: it is no regular file"
    commands = [
        ("report", "out"),
        ("report", "out", "--to", "to", "--list"),
        ("explain", "resnet50", "--in", "out"),
        ("explain", "resnet50", "--in", "out", "--json"),
        ("compare", "resnet50", "swin_t", "--in", "out"),
        ("compare", base.name, "out", "--fail-on", "slower", "--to", "to"),
    ]
    for words in commands:
        done = bench(*words)
        assert done.returncode == 2, words
        assert done.stderr.count(said) == 1, words
        assert done.stdout, words
    for page in ("out/report.md", "out/report.html", "to/compare.md", "to/compare.json"):
        text = (tmp_path / page).read_text()
        assert "it is no regular file" in text, page
        assert "out/lost" in text, page
    assert "resnet50" in (tmp_path / "out" / "chip" / "results.md").read_text()
    for words in (("report", "out/lost"), ("explain", "nobody", "--in", "out")):
        done = bench(*words)
        assert done.returncode == 2
        assert "it is no regular file" in done.stderr
