import json

import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, OBSERVED, measurement, three
from support.results import write

from bench.analysis.reasons import Doubt
from bench.analysis.recorded import latest
from bench.errors import UsageError
from bench.records import Case
from bench.storage.reader import FILE_NAME


def test_a_record_of_another_schema_is_refused(tmp_path):
    write(tmp_path / "chip", [ENVIRONMENT, measurement(CASE), measurement(CASE, schema=2)])
    with pytest.raises(UsageError, match="has schema 2, not 1") as raised:
        latest(tmp_path)
    assert "version of bench that wrote it" in raised.value.remedy


def test_damaged_line_that_mentions_a_schema_is_skipped(tmp_path):
    folder = tmp_path / "results:1 has schema 2, not 1"
    write(folder / "chip", [ENVIRONMENT, measurement(CASE)])
    path = folder / "chip" / FILE_NAME
    said = f"{path}:1 has schema 2, not 1: left out"
    with path.open("a") as file:
        file.write(json.dumps({"type": said}) + "\n")
    (recorded,) = latest(folder)
    assert recorded.cases == [CASE]
    (warning,) = recorded.warnings
    assert warning.startswith(f"{path}:3 is not a record and was left out: ")
    assert said in warning


@pytest.mark.parametrize(("cpus", "doubts"), [(2, {Doubt.THREADS}), (4, set()), (None, set())])
def test_thread_count_is_compared_with_cpus_of_the_environment(tmp_path, cpus, doubts):
    """Without an environment on record, the number of CPUs is not known."""
    four = Case("resnet50", "plain", threads=4)
    records = three(measurement(four, **OBSERVED))
    if cpus is not None:
        chip = msgspec.structs.replace(ENVIRONMENT.chip, threads=cpus)
        records.insert(0, msgspec.structs.replace(ENVIRONMENT, chip=chip))
    write(tmp_path / "chip", records)
    (recorded,) = latest(tmp_path)
    assert {reason.doubt for reason in recorded.verdict(four).reasons} == doubts
