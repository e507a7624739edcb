"""Settings that contradict the case are named, and rounds that differ in them are not pooled."""

import msgspec
import pytest
from support.records import ENVIRONMENT, OBSERVED, QUIET, three, timed

from bench.analysis import rows
from bench.analysis.reasons import Observation
from bench.analysis.settings import alike, apart, setting_reasons
from bench.analysis.tally import LeftOut, tally
from bench.analysis.verdict import Machine, Quiet, judge_case

RIGHT = {
    "threads": 2,
    "mkldnn": True,
    "instructions": "AVX512",
    "matmul_tf32": False,
    "cudnn_tf32": False,
    "float32_matmul_precision": "highest",
    "clock_limits": "1020 to 1020 MHz",
}
MACHINE = Machine(Quiet(1e-3, 1e-3), {"run": 2})


def a_round(number=1, ms=10.0, seen=(), **settings):
    conditions = msgspec.structs.replace(QUIET, **dict(seen))
    changes = {**OBSERVED, "settings": {**RIGHT, **settings}, "conditions": conditions}
    return timed("resnet50", ms=ms, round_number=number, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mkldnn": False}, "the setting mkldnn was False instead of True"),
        ({"threads": 1}, "the setting threads was 1 instead of 2"),
        ({"runtime_threads": 1}, "the setting runtime_threads was 1 instead of 2"),
        ({"matmul_tf32": True}, "the setting matmul_tf32 was True instead of False"),
        ({"cudnn_tf32": True}, "the setting cudnn_tf32 was True instead of False"),
        (
            {"float32_matmul_precision": "medium"},
            "the setting float32_matmul_precision was medium instead of highest",
        ),
        ({"allocator": "arena"}, "the setting allocator was arena instead of default"),
        (
            {"allocator": "libmimalloc.so.2"},
            "the setting allocator was libmimalloc.so.2 instead of default",
        ),
        ({"huge_pages": "madvise"}, "the setting huge_pages was madvise instead of default"),
        ({"cudnn_tf32": None}, "the setting cudnn_tf32 was unreadable instead of False"),
        ({"seen": {"threads_used": 1.04}}, "only 1.0 of 2 threads computed"),
        (
            {"seen": {"cpus": 1, "threads_used": 2.0}},
            "the process could use only 1 of the CPUs for its 2 threads",
        ),
    ],
)
def test_a_setting_that_contradicts_the_case_is_suspect_and_named(changes, said):
    verdict = judge_case(three(a_round(**changes)), MACHINE)
    assert verdict.level == "SUSPECT"
    (reason,) = verdict.reasons
    assert reason.text == f"{said} (3 of 3 rounds)"
    assert "Undo it" in reason.doubt.value


@pytest.mark.parametrize("seen", [{"threads_used": 1.9}, {"threads_used": 2.3}, {}])
def test_settings_of_the_case_raise_no_doubt(seen):
    assert judge_case(three(a_round(seen=seen)), MACHINE).level == "VALID"
    assert list(setting_reasons(timed("resnet50"), None)) == []  # an old record without settings


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mkldnn": False}, "mkldnn"),
        ({"instructions": "DEFAULT"}, "instructions"),
        ({"clock_limits": "306 to 1020 MHz"}, "clock_limits"),
        ({"threads": 1}, "threads"),
        ({"seen": {"threads_used": 1.0}}, "threads that computed"),
        ({"seen": {"cpus": 1, "threads_used": 2.0}}, "CPUs"),
    ],
)
def test_rounds_that_differ_are_not_pooled(changes, named):
    rounds = [a_round(1), a_round(2, ms=90.0, **changes), a_round(3)]
    assert alike(rounds) == [rounds[0], rounds[2]]
    (reason,) = apart(rounds)
    assert reason.text == f"rounds with another setting are left out: {named} (1 of 3 rounds)"
    assert judge_case(rounds, MACHINE).level == "SUSPECT"
    (row,) = rows.of([ENVIRONMENT, *rounds])
    assert row.summary.samples == 6
    assert row.summary.median < 0.02
    assert reason.observation in {each.observation for each in row.verdict.reasons}
    assert tally([ENVIRONMENT, *rounds]).left_out[LeftOut.OTHER_SETTINGS] == 1


def test_of_two_equal_parts_the_newer_one_counts():
    rounds = [a_round(1), a_round(2, mkldnn=False)]
    assert alike(rounds) == rounds[1:]
    assert alike([]) == apart([]) == []


def test_a_setting_that_one_round_lacks_separates_nothing():
    rounds = [a_round(1), timed("resnet50", round_number=2)]
    assert alike(rounds) == rounds
    assert Observation.ROUNDS_APART not in {each.observation for each in apart(rounds)}


@pytest.mark.parametrize(
    ("found", "level"), [("madvise", "VALID"), ("denied", "SUSPECT"), ("unreadable", "SUSPECT")]
)
def test_a_case_that_asked_for_huge_pages_says_whether_it_got_them(found, level):
    record = timed("resnet50", huge_pages="madvise", **OBSERVED, settings={"huge_pages": found})
    assert judge_case(three(record), MACHINE).level == level
    others = timed("resnet50", huge_pages="madvise", settings={"huge_pages": "denied"})
    assert len(alike([record, others])) == 1 + (found == "denied")
