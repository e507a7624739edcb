"""The file from which a tuning continues."""

import msgspec
import pytest
from support.tunings import SPACE

from bench.errors import UsageError
from bench.tune.tuning import Tuning, resumed, save

FRESH = Tuning(SPACE, "env", {"openvino": {"openvino": "2025.1"}})
KNOWN = msgspec.structs.replace(
    FRESH, alive=SPACE.forms, waves=1, search_runs=("one",), spent_s=12.0
)


def test_a_tuning_continues_where_its_records_are(tmp_path):
    assert resumed(FRESH, tmp_path, {"one"}) == FRESH
    save(KNOWN, tmp_path)
    assert resumed(FRESH, tmp_path, {"one", "two"}) == KNOWN


def test_a_tuning_without_its_records_starts_anew(tmp_path):
    save(KNOWN, tmp_path)
    assert resumed(FRESH, tmp_path, {"two"}) == FRESH


@pytest.mark.parametrize(
    "changes",
    [
        {"environment_id": "other"},
        {"runtimes": {"openvino": {"openvino": "2025.2"}}},
        {"schema": FRESH.schema + 1},
    ],
)
def test_a_tuning_of_another_version_or_machine_starts_anew(changes, tmp_path):
    save(KNOWN, tmp_path)
    other = msgspec.structs.replace(FRESH, **changes)
    assert resumed(other, tmp_path, {"one"}) == other


def test_another_space_has_another_file(tmp_path):
    save(KNOWN, tmp_path)
    other = msgspec.structs.replace(FRESH, space=msgspec.structs.replace(SPACE, tolerance=0.1))
    assert resumed(other, tmp_path, {"one"}) == other
    assert other.name != KNOWN.name


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"space": 1}', b"\xff"])
def test_a_damaged_file_has_one_message_with_its_remedy(content, tmp_path):
    (tmp_path / f"{FRESH.name}.json").write_bytes(content)
    with pytest.raises(UsageError, match="is damaged, or of another version") as caught:
        resumed(FRESH, tmp_path, {"one"})
    assert "--again" in caught.value.remedy


def test_a_folder_in_place_of_the_file_has_one_message(tmp_path):
    (tmp_path / f"{FRESH.name}.json").mkdir()
    with pytest.raises(UsageError, match="cannot read"):
        resumed(FRESH, tmp_path, {"one"})


def test_a_dropped_candidate_is_no_longer_in_the_race_and_still_known():
    out = KNOWN.drop({SPACE.forms[0]: "slower"})
    assert out.alive == SPACE.forms[1:]
    assert out.known == frozenset(SPACE.forms)
    assert out.dropped[0].why == "slower"
