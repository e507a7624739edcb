import msgspec
import pytest
from support.records import measurement

from bench.analysis.verdict import Doubt, Quiet, judge, judge_case, quiet_of
from bench.records import Case, Conditions

CASE = Case("resnet50", "plain")
CLEAN = Conditions(wall_s=10, cpus=2, own_cpu_s=19, busy_cpu_s=19.5, stolen_cpu_s=0, throttled_s=0)
QUIET = Quiet(0.001, 0.002)


def judged(quiet=QUIET, conditions=CLEAN, kernels=(0.001, 0.002), **changes):
    compute, memory = kernels
    record = measurement(
        CASE,
        conditions=conditions,
        block_compute_s=[compute],
        block_memory_s=[memory],
        **changes,
    )
    return judge(record, quiet)


def spoilt(**changes):
    return judged(conditions=msgspec.structs.replace(CLEAN, **changes))


def test_a_quiet_machine_is_valid():
    assert judged() == ("VALID", [])
    assert judged().text == "VALID"


@pytest.mark.parametrize(
    ("changes", "level", "doubt", "seen"),
    [
        ({"busy_cpu_s": 22.0}, "SUSPECT", Doubt.OTHERS, "others used 15 % of the CPUs"),
        ({"own_cpu_s": 10.0, "busy_cpu_s": 20.0}, "INVALID", Doubt.OTHERS, "50 %"),
        ({"stolen_cpu_s": 1.0}, "SUSPECT", Doubt.STOLEN, "5 %"),
        ({"stolen_cpu_s": 6.0}, "INVALID", Doubt.STOLEN, "30 %"),
        ({"throttled_s": 0.2}, "SUSPECT", Doubt.QUOTA, "2 %"),
        ({"throttled_s": 2.0}, "INVALID", Doubt.QUOTA, "20 %"),
        ({"lowest_clock_hz": 2e9, "highest_clock_hz": 3e9}, "SUSPECT", Doubt.CLOCK, "33 %"),
        ({"overheated": 3}, "SUSPECT", Doubt.CLOCK, "3 thermal events"),
        ({"throttled_by": ["hw_thermal_slowdown"]}, "SUSPECT", Doubt.HEAT, "hw_thermal_slowdown"),
        ({"throttled_by": ["sw_power_cap"]}, "VALID", Doubt.POWER, "the power limit"),
        ({"foreign_processes": 2}, "SUSPECT", Doubt.FOREIGN, "2 other processes were on the GPU"),
        ({"power_modes": ["15W", "30W"]}, "INVALID", Doubt.MODE, "15W to 30W"),
        (
            {"stolen_cpu_s": None, "missing": {"stolen_cpu_s": "no /proc/stat"}},
            "SUSPECT",
            Doubt.SENSOR,
            "steal time could not be read: no /proc/stat",
        ),
    ],
)
def test_a_fault_flips_the_verdict_and_is_named(changes, level, doubt, seen):
    verdict = spoilt(**changes)
    assert verdict.level == level
    assert [reason.doubt for reason in verdict.reasons] == [doubt]
    assert seen in verdict.text


@pytest.mark.parametrize(
    ("kernels", "level", "doubt"),
    [
        ((0.0015, 0.002), "SUSPECT", Doubt.COMPUTE),
        ((0.003, 0.002), "INVALID", Doubt.COMPUTE),
        ((0.001, 0.005), "SUSPECT", Doubt.MEMORY),
    ],
)
def test_slow_kernels_flip_the_verdict(kernels, level, doubt):
    verdict = judged(kernels=kernels)
    assert (verdict.level, verdict.reasons[0].doubt) == (level, doubt)


def test_a_warm_up_that_did_not_settle_and_too_many_threads_are_doubts():
    assert judged(steady=False).reasons[0].doubt == Doubt.WARM_UP
    assert judged(warnings=["4 threads on 2 usable CPUs"]).reasons[0].doubt == Doubt.THREADS


def test_a_record_without_conditions_is_suspect():
    assert judge(measurement(CASE), None).reasons[0].doubt == Doubt.SENSOR


def test_a_case_is_as_suspect_as_its_rounds():
    def rounds(*busy):
        return [
            measurement(
                CASE,
                number,
                conditions=msgspec.structs.replace(CLEAN, own_cpu_s=0.0, busy_cpu_s=seconds),
                block_compute_s=[0.001],
                block_memory_s=[0.002],
            )
            for number, seconds in enumerate(busy, 1)
        ]

    assert judge_case(rounds(0, 0, 0), QUIET).level == "VALID"
    one = judge_case(rounds(0, 10, 0, 3), QUIET)
    assert one.level == "SUSPECT"
    assert one.text == "SUSPECT: others used 50 % of the CPUs (2 of 4 rounds)"
    assert judge_case(rounds(0, 10, 10), QUIET).level == "INVALID"


def test_what_is_said_without_being_a_doubt_leaves_a_case_valid():
    capped = msgspec.structs.replace(CLEAN, throttled_by=["sw_power_cap"])
    kernels = {"block_compute_s": [0.001], "block_memory_s": [0.002]}
    rounds = [measurement(CASE, n, conditions=capped, **kernels) for n in (1, 2)]
    said = "VALID: the power limit held the clock down (2 of 2 rounds)"
    assert judge_case(rounds, QUIET).text == said


def test_reasons_of_idleness_and_settings_are_none():
    seen = ["applications_clocks_setting", "display_clock_setting", "sync_boost"]
    assert spoilt(throttled_by=seen) == ("VALID", [])


def test_two_sensors_that_are_missing_in_each_round_are_two_reasons():
    blind = Conditions(wall_s=1, cpus=2)
    rounds = [
        measurement(CASE, n, conditions=blind, block_compute_s=[0.001], block_memory_s=[0.002])
        for n in (1, 2, 3)
    ]
    reasons = judge_case(rounds, QUIET).reasons
    assert [reason.seen.endswith("(3 of 3 rounds)") for reason in reasons] == [True, True]


def test_a_gpus_clock_follows_the_load_and_is_never_invalid_for_it():
    fell = msgspec.structs.replace(CLEAN, lowest_clock_hz=3e8, highest_clock_hz=2e9)
    kernels = {"block_compute_s": [0.001], "block_memory_s": [0.002]}
    on_gpu, on_cpu = (
        judge(measurement(Case("resnet50", "plain", device=d), conditions=fell, **kernels), QUIET)
        for d in ("cuda", "cpu")
    )
    assert (on_gpu.level, on_cpu.level) == ("SUSPECT", "INVALID")


def test_a_clock_of_zero_is_no_clock():
    assert spoilt(lowest_clock_hz=0.0, highest_clock_hz=0.0).level == "VALID"


def test_the_quiet_state_is_the_fastest_tenth():
    rounds = [
        measurement(CASE, n, block_compute_s=[n * 1e-3], block_memory_s=[n * 2e-3])
        for n in range(1, 12)
    ]
    assert quiet_of(rounds) == (0.002, 0.004)
    assert quiet_of([measurement(CASE)]) is None
