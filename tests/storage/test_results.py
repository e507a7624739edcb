import contextlib
import errno
import json
import os

import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, failure, measurement

from bench.errors import UsageError
from bench.records import Case, Cost, Peaks
from bench.storage import lock
from bench.storage import results as store
from bench.storage.results import Store


def opened(folder, *records):
    """A store of `folder` to which `records` were appended; it is closed."""
    results = Store(folder)
    results.open()
    with contextlib.closing(results):
        for record in records:
            results.append(record)
    return results


def test_appended_records_are_read_back(tmp_path):
    records = [ENVIRONMENT, measurement(CASE), failure(CASE)]
    assert opened(tmp_path / "chip", *records).records == records
    assert opened(tmp_path / "chip").records == records


def test_a_record_is_on_the_disk_when_append_returns(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def counted(descriptor):
        fsync(descriptor)
        flushed.append(os.fstat(descriptor))

    with contextlib.closing(Store(tmp_path)) as results:
        results.open()
        monkeypatch.setattr(os, "fsync", counted)
        for record in (ENVIRONMENT, measurement(CASE)):
            results.append(record)
            now = results.path.stat()
            assert (flushed[-1].st_ino, flushed[-1].st_size) == (now.st_ino, now.st_size)


def test_line_is_a_json_object_with_the_documented_fields(tmp_path):
    results = opened(tmp_path, measurement(CASE))
    (line,) = results.path.read_text().splitlines()
    record = json.loads(line)
    assert record["type"] == "measurement"
    assert record["case"] == {
        "model": "resnet50",
        "form": "plain",
        "backend": "eager",
        "precision": "fp32",
        "batch": 1,
        "resolution": 224,
        "device": "cpu",
        "threads": 1,
        "input": "",
        "label": "",
        "allocator": "default",
        "huge_pages": "default",
        "workload": "infer",
        "scenario": "tight",
    }
    assert set(record["stages_s"]) == {
        "start",
        "build",
        "fuse",
        "load",
        "check",
        "first",
        "warmup",
        "timed",
        "calibrate",
        "events",
        "observe",
    }
    wanted = "schema run_id case_id round samples_s block_sizes block_starts_s cost stopped_by"
    assert set(wanted.split()) | {"environment_id", "warnings"} <= set(record)


@pytest.mark.parametrize(
    "torn",
    [b'{"type":"measurement"', b"\0" * 4096, b'{"type":"meas\0\0', b"\xff"],
    ids=["killed", "power cut", "power cut in a line", "no text"],
)
def test_torn_last_line_is_moved_with_a_warning(tmp_path, torn):
    results = opened(tmp_path, measurement(CASE))
    whole = results.path.read_bytes()
    results.path.write_bytes(whole + torn)
    again = opened(tmp_path)
    assert len(again.records) == 1
    assert results.path.read_bytes() == whole
    assert (tmp_path / "results.jsonl.torn").read_bytes() == torn + b"\n"
    assert f"torn line of {len(torn)} bytes" in again.warnings[0]


def test_whole_last_record_without_newline_is_kept(tmp_path):
    results = opened(tmp_path, measurement(CASE, 1), measurement(CASE, 2))
    whole = results.path.read_bytes()
    results.path.write_bytes(whole[:-1])
    again = opened(tmp_path)
    assert [record.round for record in again.records] == [1, 2]
    assert results.path.read_bytes() == whole
    assert not (tmp_path / "results.jsonl.torn").exists()
    assert "ended in a whole record" in again.warnings[0]


def test_line_without_a_record_is_skipped_with_a_warning(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"type": "nonsense"}\nnot json\n')
    again = opened(tmp_path, measurement(CASE))
    assert len(again.records) == 1
    again = opened(tmp_path)
    assert len(again.records) == 1
    assert [warning.split(" ")[0].rpartition(":")[2] for warning in again.warnings] == ["1", "2"]


def test_record_of_another_schema_is_skipped_with_a_warning(tmp_path):
    opened(tmp_path, measurement(CASE, schema=99))
    again = opened(tmp_path)
    assert again.records == []
    assert "schema 99" in again.warnings[0]


def test_only_one_run_writes_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "WAIT_S", 0.2)
    first, second = Store(tmp_path), Store(tmp_path)
    with contextlib.closing(first), contextlib.closing(second):
        first.open()
        with pytest.raises(UsageError, match="another run is writing"):
            second.open()
        first.close()
        second.open()


@pytest.mark.parametrize(
    "impossible",
    [
        {"samples_s": [], "block_sizes": []},
        {"samples_s": [0.0], "block_sizes": [1]},
        {"samples_s": [-1.0], "block_sizes": [1]},
        {"samples_s": [1e300], "block_sizes": [1]},
        {"block_sizes": [2]},
        {"block_starts_s": [1.0, 2.0]},
        {"block_compute_s": [0.1]},
        {"cost": Cost(params=10**30)},
        {"case": Case("resnet50", "plain", batch=0)},
    ],
)
def test_record_with_impossible_values_is_skipped_with_a_warning(tmp_path, impossible):
    opened(tmp_path)
    line = msgspec.json.encode(
        {**msgspec.to_builtins(measurement(CASE)), **msgspec.to_builtins(impossible)}
    )
    (tmp_path / "results.jsonl").write_bytes(line + b"\n")
    again = opened(tmp_path)
    assert again.records == []
    assert len(again.warnings) == 1


def test_deeply_nested_line_is_skipped(tmp_path):
    opened(tmp_path)
    (tmp_path / "results.jsonl").write_text('{"a":' * 100_000 + "\n")
    assert "not a record" in opened(tmp_path).warnings[0]


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        opened(tmp_path / "file" / "chip")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_results_path_that_is_no_regular_file_is_refused(tmp_path, make):
    make(tmp_path / "results.jsonl")
    with pytest.raises(UsageError, match="cannot write"):
        opened(tmp_path)


def test_record_that_does_not_fit_on_the_disk_is_removed(tmp_path, monkeypatch):
    """The first write stores only half, as on a disk that is nearly full."""
    before = opened(tmp_path, measurement(CASE)).path.read_bytes()
    write = os.write
    results = Store(tmp_path)
    results.open()

    def nearly_full(number, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(number, data[: len(data) // 2])

    monkeypatch.setattr(store.os, "write", nearly_full)
    with contextlib.closing(results), pytest.raises(UsageError, match="No space left") as raised:
        results.append(measurement(CASE, 2))
    assert "Make room" in raised.value.remedy
    assert len(results.records) == 1
    assert results.path.read_bytes() == before


def test_records_of_a_case_are_read_from_their_places(tmp_path):
    other = Case("swin_t", "plain")
    peaks = Peaks("run", "env", "fp32", 2, macs_per_s=50e9, bytes_per_s=10e9)
    results = opened(tmp_path, ENVIRONMENT, measurement(CASE), measurement(other, 1), peaks)
    results.open()
    with contextlib.closing(results):
        results.append(measurement(CASE, 2))
        assert results.history(CASE, "env").rounds == [measurement(CASE), measurement(CASE, 2)]
        assert results.history(other, "env").rounds == [measurement(other, 1)]
        assert results.history(CASE, "elsewhere").rounds == []
        assert results.records_of(None, "env") == [ENVIRONMENT, peaks]


def test_file_changed_by_another_program_is_refused(tmp_path):
    results = Store(tmp_path)
    results.open()
    results.append(measurement(CASE))
    results.path.write_bytes(b"x" + results.path.read_bytes())
    with contextlib.closing(results), pytest.raises(UsageError, match="was changed while this run"):
        results.history(CASE, "env")


def test_new_file_and_folders_are_flushed_once(tmp_path, monkeypatch):
    flushed = []

    def fsync(number):
        flushed.append(os.readlink(f"/proc/self/fd/{number}"))

    monkeypatch.setattr(store.os, "fsync", fsync)
    opened(tmp_path / "out" / "chip")
    wanted = [tmp_path / "out" / "chip", tmp_path / "out", tmp_path]
    assert flushed == [str(path) for path in wanted]
    opened(tmp_path / "out" / "chip")
    assert len(flushed) == 3
