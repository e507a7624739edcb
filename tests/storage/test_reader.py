import json

import msgspec
import pytest
from support.records import CASE, measurement

from bench.errors import UsageError
from bench.storage import reader
from bench.storage.reader import FILE_NAME, Flaw, SkippedLine, read
from bench.storage.results import Store

WHOLE = msgspec.json.encode(measurement(CASE))


def written(folder, *lines):
    """Write `lines` to the results file in `folder`; returns its path."""
    path = folder / FILE_NAME
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_record_of_another_schema_is_skipped_with_a_warning(tmp_path):
    path = written(tmp_path, WHOLE, msgspec.json.encode(measurement(CASE, schema=99)))
    found, unread = read(path)
    assert found == [measurement(CASE)]
    assert [(each.line, each.flaw) for each in unread] == [(2, Flaw.SCHEMA)]
    assert str(unread[0]) == f"{path}:2 has schema 99, not 1: left out"


def test_damaged_line_is_not_mistaken_for_another_schema(tmp_path):
    folder = tmp_path / "results:1 has schema 2, not 1: left out"
    folder.mkdir()
    line = json.dumps({"type": ":1 has schema 2, not 1: left out"}).encode()
    _, (unread,) = read(written(folder, line))
    assert (unread.line, unread.flaw) == (1, Flaw.DAMAGED)
    assert str(unread).startswith(f"{folder / FILE_NAME}:1 is not a record and was left out: ")
    assert "has schema 2" in unread.detail


def test_record_with_wrong_case_id_is_skipped_with_a_warning(tmp_path):
    wrong = WHOLE.replace(CASE.case_id.encode(), b"another")
    path = written(tmp_path, wrong, WHOLE)
    found, (unread,) = read(path)
    assert found == [measurement(CASE)]
    assert unread == SkippedLine(path, 1, Flaw.FOREIGN_ID)
    assert (
        str(unread)
        == f"{path}:1 is not a record and was left out: its case_id belongs to another case"
    )


def test_further_skipped_lines_are_only_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MOST_SKIPPED", 3)
    path = written(tmp_path, *[b"x"] * 9, WHOLE, b"x")
    found, unread = read(path)
    assert found == [measurement(CASE)]
    assert [each.flaw for each in unread] == [Flaw.DAMAGED] * 3 + [Flaw.MORE]
    assert str(unread[-1]) == f"{path}: 7 more lines are not records and were left out"


def test_unfinished_line_is_read_from_the_end_within_a_limit(tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    monkeypatch.setattr(reader, "CHUNK_BYTES", 4)
    for content, last in (
        (b"", b""),
        (b"ab\n", b""),
        (b"ab\ncdefghij", b"cdefghij"),
        (b"ab", b"ab"),
    ):
        path.write_bytes(content)
        assert reader.unfinished_line(path) == last
    monkeypatch.setattr(reader, "LINE_BYTES", 20)
    path.write_bytes(b"ab\n" + bytes(40))
    with pytest.raises(OSError, match="has more than 20 bytes"):
        reader.unfinished_line(path)
    results = Store(tmp_path)
    with pytest.raises(UsageError, match="its last line has more than 20 bytes"):
        results.open()
    assert path.read_bytes() == b"ab\n" + bytes(40)
