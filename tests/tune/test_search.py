"""The search on a simulated machine, and what it drops."""

import msgspec
import pytest
from support.tunings import (
    GOOD_ENOUGH,
    SPACE,
    TUNINGS,
    Machine,
    Summary,
    alike,
    costs,
    summary,
    tune,
)

from bench.models import forms
from bench.records import Check, Failure
from bench.tune.search import NO_TIME, SURE, Search
from bench.tune.space import WAVES
from bench.tune.tuning import Tuning

FEW = 8


def check(same: Summary, different: Summary):
    assert same.faster <= 0.05 * same.tunings
    assert different.faster >= 0.7 * different.tunings
    assert different.mean_regret <= GOOD_ENOUGH / 2
    assert different.regretted <= 0.15 * different.tunings


def test_few_tunings_of_equal_candidates_find_a_gain_and_the_others_find_the_best():
    check(summary(FEW, lambda _: alike), summary(FEW, costs))


@pytest.mark.simulations
def test_few_of_all_tunings_of_equal_candidates_find_a_gain_and_the_others_find_the_best():
    check(summary(TUNINGS, lambda _: alike), summary(TUNINGS, costs))


def searched(machine, until_s=720.0, measure=None, look=None):
    kept = []
    search = Search(
        look or (lambda: machine.of("search")),
        measure or machine.measure,
        kept.append,
        until_s,
        now=lambda: machine.now_s,
    )
    return search.run(Tuning(SPACE, "env")), kept


def test_every_candidate_is_in_the_final_or_dropped_with_a_reason():
    tuning, _ = searched(Machine(1, costs(1)))
    assert len(tuning.finalists) == 2
    assert set(tuning.finalists) == set(tuning.alive)
    assert all(each.why for each in tuning.dropped)
    assert len(tuning.dropped) + 2 == len(tuning.known)


def test_the_baseline_is_the_fastest_form_in_eager_mode():
    cost = costs(1)
    tuning, _ = searched(Machine(1, cost))
    assert tuning.baselines[0] == min(SPACE.forms, key=cost)
    assert set(tuning.baselines) <= set(SPACE.forms)


def test_each_step_is_kept_with_its_number():
    _, kept = searched(Machine(2, costs(2)))
    assert [each.waves for each in kept[: len(WAVES)]] == list(range(1, len(WAVES) + 1))
    assert kept[-1].finalists
    assert not any(each.finalists for each in kept[:-1])


def test_a_search_that_was_stopped_continues_after_its_last_step():
    machine = Machine(3, costs(3))
    _, kept = searched(machine)
    before = len(machine.rounds)
    search = Search(
        lambda: machine.of("search"), machine.measure, kept.append, 0.0, lambda: machine.now_s
    )
    assert search.run(kept[-2]).finalists == kept[-1].finalists
    assert len(machine.rounds) == before


def test_without_time_only_the_forms_are_measured_and_the_rest_says_so():
    machine = Machine(4, costs(4))
    tuning, _ = searched(machine, until_s=1.0)
    assert {each.case for each in machine.rounds} == set(SPACE.forms)
    assert {each.why for each in tuning.dropped if each.case not in SPACE.forms} == {NO_TIME}
    assert len(tuning.finalists) == 2


def test_a_candidate_near_the_fastest_drops_out_only_after_several_rounds():
    machine = Machine(12, costs(12))  # one of its candidates is unlucky twice
    tuning, _ = searched(machine)
    fastest = min(machine.of("search"), key=lambda each: each.samples_s[0]).samples_s[0]
    for dropped in tuning.dropped:
        rounds = [each.samples_s[0] for each in machine.rounds if each.case == dropped.case]
        if len(rounds) < SURE:
            assert max(rounds) > 1.1 * fastest


def failed(case):
    return Failure("search", case.case_id, case, "env", 1, "check", "WrongOutput", "error 0.5")


def test_a_candidate_that_fails_is_refused_by_name():
    machine = Machine(5, costs(5))
    broken = []

    def measure(cases):
        bad = [case for case in cases if case.backend == "openvino"]
        broken.extend(map(failed, bad))
        machine.measure([case for case in cases if case not in bad])

    tuning, _ = searched(machine, measure=measure, look=lambda: [*machine.of("search"), *broken])
    why = {each.case: each.why for each in tuning.dropped if each.case.backend == "openvino"}
    assert why
    assert set(why.values()) == {"failed at check: WrongOutput: error 0.5"}


def searched_strictly(machine):
    """The tuning of a search in which compile is less exact than tolerated."""
    check = Check(against="eager", largest_relative_error=0.04)

    def look():
        return [
            msgspec.structs.replace(each, check=check) if each.case.backend == "compile" else each
            for each in machine.of("search")
        ]

    strict = msgspec.structs.replace(SPACE, tolerance=0.03)
    search = Search(look, machine.measure, lambda _: None, 720, lambda: machine.now_s)
    return search.run(Tuning(strict, "env"))


def test_a_candidate_whose_error_is_above_the_tolerance_is_refused():
    tuning = searched_strictly(Machine(6, costs(6)))
    why = {each.why for each in tuning.dropped if each.case.backend == "compile"}
    assert "its error against eager is 4.0e-02, above 0.03" in why
    assert not any(case.backend == "compile" for case in tuning.finalists)


def test_where_every_form_fails_nothing_is_left():
    failures = []

    def measure(cases):
        failures.extend(map(failed, cases))

    machine = Machine(7, costs(7))
    tuning, _ = searched(machine, measure=measure, look=lambda: failures)
    assert not tuning.finalists
    assert not tuning.baselines
    assert {each.case for each in tuning.dropped} == set(SPACE.forms)


def test_a_tuning_ends_within_its_time():
    assert tune(8, costs(8), for_s=600.0).seconds <= 600.0 + 60.0


def test_one_round_is_enough_to_drop_what_is_far_slower():
    machine = Machine(9, lambda case: 3.0 * (case.backend == "compile"))
    searched(machine)
    slow = [each for each in machine.rounds if each.case.backend == "compile"]
    assert len({each.case for each in slow}) == len(slow) == 1


def test_what_is_refused_does_not_steer_the_search():
    """A wrong runtime is by far the fastest: its forms and settings are not worth a round."""
    machine = Machine(10, lambda case: -2.0 * (case.backend == "compile"))
    searched_strictly(machine)
    assert len([each for each in machine.rounds if each.case.backend == "compile"]) == 1


def test_a_wave_that_was_stopped_does_not_measure_its_candidates_again():
    machine = Machine(11, costs(11))
    _, kept = searched(machine)
    of_wave = {each.case for each in machine.rounds}
    before = len(machine.rounds)
    search = Search(
        lambda: machine.of("search"), machine.measure, lambda _: None, 10**9, lambda: machine.now_s
    )
    search._wave(kept[0])  # the second wave, all of whose candidates have a round
    assert {each.case for each in machine.rounds} == of_wave
    assert len(machine.rounds) == before


def searched_by_stage(cost):
    """A search in which each stage of the fastest candidate is tried in another form."""
    machine = Machine(14, cost)
    search = Search(
        lambda: machine.of("search"), machine.measure, lambda _: None, 1200, lambda: machine.now_s
    )
    return search.run(Tuning(msgspec.structs.replace(SPACE, stages=True), "env"))


def mixed(tuning):
    return [case for case in tuning.known if forms.is_mixture(case.form)]


def test_faster_mixtures_of_forms_meet_the_network_in_one_form_in_the_final():
    found = searched_by_stage(lambda case: -0.5 * forms.is_mixture(case.form))
    assert len(mixed(found)) == 8
    first, second = found.finalists
    assert forms.is_mixture(first.form)
    assert not forms.is_mixture(second.form)


def test_slower_mixtures_of_forms_drop_out():
    found = searched_by_stage(lambda case: 0.5 * forms.is_mixture(case.form))
    assert len(mixed(found)) == 8
    assert not any(forms.is_mixture(case.form) for case in found.finalists)


BOTH = tuple((backend, name) for backend, _ in SPACE.runtimes for name in ("fp32", "bf16"))


def searched_in_two_precisions(cost, until_s=1200):
    machine = Machine(15, cost)
    search = Search(
        lambda: machine.of("search"),
        machine.measure,
        lambda _: None,
        until_s,
        lambda: machine.now_s,
    )
    return search.run(Tuning(msgspec.structs.replace(SPACE, runtimes=BOTH), "env"))


def test_the_fastest_candidate_in_fp32_is_a_finalist_beside_reduced_precisions():
    known = costs(15)
    found = searched_in_two_precisions(lambda case: known(case) - (case.precision == "bf16"))
    assert [case.precision for case in found.finalists] == ["bf16", "bf16", "fp32"]
    exact = [case for case in found.known if case.precision == "fp32"]
    assert known(found.finalists[2]) < min(map(known, exact)) + 0.1


def test_no_third_finalist_is_there_where_fp32_is_as_fast():
    found = searched_in_two_precisions(lambda case: float(case.precision == "bf16"))
    assert {case.precision for case in found.finalists} == {"fp32"}
    assert len(found.finalists) == 2


def test_a_search_in_two_precisions_ends_before_its_time_where_nothing_drops_out():
    found = searched_in_two_precisions(lambda case: -float(case.precision == "bf16"), 10**6)
    assert found.rungs <= 6


def test_the_forms_take_turns_and_have_several_rounds_before_runtimes_are_tried():
    machine = Machine(13, alike)
    kept = []
    search = Search(
        lambda: machine.of("search"), machine.measure, kept.append, 720, lambda: machine.now_s
    )
    search._wave(Tuning(SPACE, "env"))
    first = [each.case for each in machine.rounds if each.sitting == 1]
    assert first == list(SPACE.forms)
    assert max(each.sitting for each in machine.rounds) == SURE
