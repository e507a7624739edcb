"""The candidates of each wave."""

import msgspec
from support.tunings import SPACE

from bench.records import Case
from bench.tune.space import WAVES, Space

TRAIN, RREP, FC, SREP = SPACE.forms
FORMS, RUNTIMES, FORMS_IN_RUNTIMES, SETTINGS, TOGETHER, STAGES = (each.candidates for each in WAVES)


def changed(case: Case, **changes: object) -> Case:
    return msgspec.structs.replace(case, **changes)


def test_the_first_wave_has_every_form_in_eager_mode():
    assert FORMS(SPACE, []) == list(SPACE.forms)


def test_the_second_wave_has_the_fastest_form_in_every_runtime():
    found = RUNTIMES(SPACE, [RREP, TRAIN, SREP])
    assert {case.form for case in found} == {"rrep"}
    assert [(case.backend, case.precision) for case in found] == list(SPACE.runtimes)


def test_the_third_wave_has_every_form_in_the_two_fastest_runtimes():
    fastest = [changed(RREP, backend=each) for each in ("openvino", "onnxruntime", "compile")]
    found = FORMS_IN_RUNTIMES(SPACE, [*fastest, RREP])
    assert len(found) == 2 * len(SPACE.forms)
    assert {case.backend for case in found} == {"openvino", "onnxruntime"}
    assert {case.form for case in found} == {case.form for case in SPACE.forms}


def test_the_third_wave_also_has_every_form_in_the_two_fastest_runtimes_in_fp32():
    fastest = [changed(RREP, backend=each, precision="bf16") for each in ("openvino", "compile")]
    exact = [changed(RREP, backend=each) for each in ("onnxruntime", "openvino", "executorch")]
    found = FORMS_IN_RUNTIMES(SPACE, [*fastest, *exact, RREP])
    assert len(found) == 4 * len(SPACE.forms)
    assert {(case.backend, case.precision) for case in found} == {
        ("openvino", "bf16"),
        ("compile", "bf16"),
        ("onnxruntime", "fp32"),
        ("openvino", "fp32"),
    }


def test_the_fourth_wave_changes_one_setting_of_the_fastest_and_of_the_fastest_eager_form():
    fastest = [changed(RREP, backend=each) for each in ("openvino", "onnxruntime", "compile")]
    found = set(SETTINGS(SPACE, [*fastest, RREP, TRAIN])) - {*fastest, RREP}
    assert {(case.form, case.backend) for case in found} == {
        ("rrep", "openvino"),
        ("rrep", "onnxruntime"),
        ("rrep", "eager"),
    }
    assert {(case.allocator, case.huge_pages, case.threads) for case in found} == {
        ("arena", "default", 2),
        ("default", "always", 2),
        ("default", "default", 1),
    }


def test_the_fifth_wave_joins_the_settings_that_helped():
    arena, always = changed(RREP, allocator="arena"), changed(RREP, huge_pages="always")
    slow = changed(RREP, threads=1)
    both = changed(RREP, allocator="arena", huge_pages="always")
    assert TOGETHER(SPACE, [arena, always, RREP, slow]) == [both]
    assert TOGETHER(SPACE, [arena, RREP, always, slow]) == []
    assert TOGETHER(SPACE, [RREP, arena, always]) == []


def test_three_settings_that_helped_are_joined_in_pairs_and_all_together():
    helped = [
        changed(RREP, allocator="arena"),
        changed(RREP, huge_pages="always"),
        changed(RREP, threads=1),
    ]
    assert len(TOGETHER(SPACE, [*helped, RREP])) == 4


def test_the_last_wave_changes_one_stage_of_the_fastest_if_that_was_asked():
    best = changed(RREP, backend="openvino", allocator="arena")
    asked = msgspec.structs.replace(SPACE, stages=True)
    assert STAGES(SPACE, [best, RREP]) == []
    found = STAGES(asked, [best, RREP])
    assert {case.form for case in found} == {
        "-".join("rrep" if i != stage else other for i in range(4))
        for stage in range(4)
        for other in ("rrep_fc", "srep")
    }
    assert {changed(case, form="rrep") for case in found} == {best}
    assert STAGES(asked, [TRAIN, RREP]) == []


def test_a_space_without_a_choice_says_so():
    one = Space((RREP,), (("eager", "fp32"),), ("default",), ("default",), (2,))
    assert not one.has_choice
    assert msgspec.structs.replace(one, threads=(2, 1)).has_choice
    assert msgspec.structs.replace(one, forms=(RREP, TRAIN)).has_choice
