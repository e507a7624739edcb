"""The identity of a case: records that were written before a field existed keep their ids."""

import pytest
from msgspec import structs

from bench.records import Case

MOBILE = Case("mobilenetv3_l", "plain", batch=128, threads=2)


def test_a_case_of_an_older_record_keeps_its_id():
    assert MOBILE.case_id == "1289f0f2e6156c0e"  # of a committed report


@pytest.mark.parametrize("change", [{"allocator": "arena"}, {"huge_pages": "madvise"}])
def test_another_allocation_is_another_case_in_the_same_group(change):
    other = structs.replace(MOBILE, **change)
    assert other.case_id != MOBILE.case_id
    assert other.group == MOBILE.group  # they take turns
    assert other.setting != MOBILE.setting  # two networks are not compared across it


def test_a_training_step_is_another_case_in_a_group_of_its_own():
    other = structs.replace(MOBILE, workload="train")
    assert other.case_id != MOBILE.case_id
    assert other.group != MOBILE.group
    assert other.ranked_with != MOBILE.ranked_with
    assert other.trains
    assert not MOBILE.trains
