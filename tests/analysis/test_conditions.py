import pytest
from support.records import CASE, measurement

from bench.analysis.conditions import conditions_over
from bench.analysis.verdict import NO_REASON, Machine, judge
from bench.records import Reading


def test_counters_sum_the_change_during_blocks_only():
    blocks = [
        (Reading(at_s=1, cpus=2, busy_cpu_s=10.0), Reading(at_s=2, cpus=2, busy_cpu_s=12.0)),
        (Reading(at_s=5, cpus=2, busy_cpu_s=90.0), Reading(at_s=7, cpus=2, busy_cpu_s=93.0)),
    ]
    found = conditions_over(blocks)
    assert (found.wall_s, found.busy_cpu_s, found.cpus) == (3, 5.0, 2)
    assert found.stolen_cpu_s is None


def test_counter_is_none_if_missing_once_or_decreasing():
    once = [
        (Reading(at_s=0, stolen_cpu_s=0.0), Reading(at_s=1, stolen_cpu_s=0.5)),
        (Reading(at_s=1, stolen_cpu_s=0.5), Reading(at_s=2, missing={"stolen_cpu_s": "gone"})),
    ]
    assert conditions_over(once).stolen_cpu_s is None
    assert conditions_over(once).missing == {"stolen_cpu_s": "gone"}
    back = [(Reading(at_s=0, page_faults=5), Reading(at_s=1, page_faults=4))]
    assert conditions_over(back).page_faults is None


def test_counters_are_unknown_if_the_usable_cpus_change_during_a_round():
    """The sum over other CPUs would fall, or look like a load of many hours."""
    fields = {"own_cpu_s": 1.0, "busy_cpu_s": 50.0, "stolen_cpu_s": 1.0}
    both = Reading(at_s=0, cpus=2, cpu_list=frozenset({0, 1}), **fields)
    for changed in ({0}, {1, 2}, {0, 1, 2}):
        after = Reading(at_s=1, cpus=len(changed), cpu_list=frozenset(changed), **fields)
        seen = conditions_over([(both, both), (both, after)])
        assert (seen.busy_cpu_s, seen.stolen_cpu_s, seen.own_cpu_s) == (None, None, 0.0)
        assert seen.cpus == min(2, len(changed))
        texts = [
            reason.text for reason in judge(measurement(CASE, conditions=seen), Machine()).reasons
        ]
        assert sum("the CPUs that the process may use changed" in text for text in texts) == 2
        assert not any(NO_REASON in text for text in texts)


def test_a_counter_that_fell_is_unknown_with_that_reason():
    seen = conditions_over([(Reading(at_s=0, busy_cpu_s=5.0), Reading(at_s=1, busy_cpu_s=4.0))])
    assert (seen.busy_cpu_s, seen.missing) == (None, {"busy_cpu_s": "the counter fell in a block"})


def test_clocks_of_an_idling_chip_count_only_after_blocks():
    blocks = [
        (Reading(at_s=0, clock_hz=3e9, power_mode="a"), Reading(at_s=1, clock_hz=2e9)),
        (Reading(at_s=1, power_mode="b"), Reading(at_s=2, clock_hz=2.2e9, power_mode="a")),
    ]
    found = conditions_over(blocks)
    assert (found.lowest_clock_hz, found.highest_clock_hz) == (2e9, 3e9)
    assert found.power_modes == ["a", "b"]
    idling = conditions_over(blocks, idles=True)
    assert (idling.lowest_clock_hz, idling.highest_clock_hz) == (2e9, 2.2e9)


def test_levels_are_maxima_and_throttle_reasons_are_collected():
    blocks = [
        (Reading(at_s=0, temperature_c=40.0, throttles=["a"]), Reading(at_s=1, power_w=90.0)),
        (Reading(at_s=1, temperature_c=70.0, throttles=[]), Reading(at_s=2, throttles=["b", "a"])),
    ]
    found = conditions_over(blocks)
    assert (found.highest_temperature_c, found.highest_power_w) == (70.0, 90.0)
    assert found.throttled_by == ["a", "b"]
    none = conditions_over([(Reading(at_s=0), Reading(at_s=1))])
    assert (none.throttled_by, none.highest_power_w) == (None, None)


def test_conditions_of_no_blocks_are_empty():
    assert conditions_over([]).wall_s == 0


def idle(before=None, after=None, **over):
    """The idle seconds of a block of 4 s, in which thread 7 computed for 1 s."""
    first = {"at_s": 0, "thread_s": {7: 2.0, 8: 9.0}, "busy_cpu_s": 0.0, "own_cpu_s": 0.0}
    last = {"at_s": 4, "thread_s": {7: 3.0, 8: 9.0}, "busy_cpu_s": 1.0, "own_cpu_s": 1.0, **over}
    pair = (Reading(**{**first, **(before or {})}), Reading(**{**last, **(after or {})}))
    return conditions_over([pair]).idle_s


def test_idle_time_is_what_the_busiest_thread_leaves():
    assert idle() == [3.0]
    assert idle(thread_s={7: 3.0, 8: 11.0}) == [2.0]
    assert idle(thread_s={7: 3.0, 9: 2.5}) == [1.5]  # thread 9 started in the block
    assert idle(thread_s={7: 8.0}) == [0.0]  # kernels count in ticks


def test_stolen_and_throttled_time_is_not_idle():
    began = {"stolen_cpu_s": 1.0, "throttled_s": 0.0}
    assert idle(began, {"stolen_cpu_s": 1.5, "throttled_s": 0.25}) == [2.25]


def test_where_waits_are_not_counted_the_load_of_others_is_not_idle():
    assert idle(busy_cpu_s=3.0) == [1.0]
    assert idle(busy_cpu_s=5.0, cpus=2) == [1.0]  # a thread waits only while no CPU is free
    assert idle(busy_cpu_s=3.0, counts_waits=True) == [3.0]


@pytest.mark.parametrize(
    "unread", [{"thread_s": {}}, {"busy_cpu_s": None}, {"own_cpu_s": None}], ids=str
)
def test_idle_time_that_is_not_known_is_no_number(unread):
    assert idle(after=unread) == []
