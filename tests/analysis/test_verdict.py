import msgspec
import pytest
from support.records import CASE, ENVIRONMENT, measurement

from bench.analysis.reasons import Doubt
from bench.analysis.verdict import Machine, Quiet, judge, judge_case, quiet_of, usable_cpus
from bench.harness.plan import PRESETS
from bench.records import Case, Chip, Conditions, Jump

CLEAN = Conditions(wall_s=10, cpus=2, own_cpu_s=19, busy_cpu_s=19.5, stolen_cpu_s=0, throttled_s=0)
MACHINE = Machine(Quiet(0.001, 0.002), usable_cpus={"run": 2})


def a_round(number=1, case=CASE, conditions=CLEAN, kernels=(0.001, 0.002), **changes):
    compute, memory = kernels
    return measurement(
        case,
        number,
        conditions=conditions,
        block_compute_s=[compute],
        block_memory_s=[memory],
        **changes,
    )


def with_modes(number, *modes):
    return a_round(number, conditions=msgspec.structs.replace(CLEAN, power_modes=list(modes)))


def judged(**changes):
    return judge(a_round(**changes), MACHINE)


def spoilt(**changes):
    return judged(conditions=msgspec.structs.replace(CLEAN, **changes))


def test_a_quiet_machine_is_valid():
    assert judged() == ("VALID", [])
    assert judged().text == "VALID"


@pytest.mark.parametrize(
    ("changes", "level", "doubt", "seen"),
    [
        ({"busy_cpu_s": 22.0}, "SUSPECT", Doubt.OTHERS, "other processes used 15 % of the CPUs"),
        ({"own_cpu_s": 10.0, "busy_cpu_s": 20.0}, "INVALID", Doubt.OTHERS, "50 %"),
        ({"stolen_cpu_s": 1.0}, "SUSPECT", Doubt.STOLEN, "5 %"),
        ({"stolen_cpu_s": 6.0}, "INVALID", Doubt.STOLEN, "30 %"),
        ({"throttled_s": 0.2}, "SUSPECT", Doubt.QUOTA, "2 %"),
        ({"throttled_s": 2.0}, "INVALID", Doubt.QUOTA, "20 %"),
        ({"lowest_clock_hz": 2e9, "highest_clock_hz": 3e9}, "SUSPECT", Doubt.CLOCK, "33 %"),
        ({"overheated": 3}, "SUSPECT", Doubt.CLOCK, "3 thermal events"),
        ({"throttled_by": ["hw_thermal_slowdown"]}, "SUSPECT", Doubt.HEAT, "hw_thermal_slowdown"),
        ({"throttled_by": ["sw_power_cap"]}, "VALID", Doubt.POWER, "the power limit"),
        ({"over_currents": 1200}, "SUSPECT", Doubt.CURRENT, "for 12 % of the time"),
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
def test_disturbance_changes_verdict_and_gives_reason(changes, level, doubt, seen):
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
def test_slow_kernels_change_the_verdict(kernels, level, doubt):
    verdict = judged(kernels=kernels)
    assert (verdict.level, verdict.reasons[0].doubt) == (level, doubt)


@pytest.mark.parametrize(
    ("stolen_cpu_s", "level"),
    [(0.4, "VALID"), (0.41, "SUSPECT"), (4.0, "SUSPECT"), (4.01, "INVALID")],
)
def test_share_equal_to_its_limit_is_no_reason(stolen_cpu_s, level):
    assert spoilt(stolen_cpu_s=stolen_cpu_s).level == level  # of 20 s; the limits are 2 and 20 %


def test_unsettled_warm_up_is_suspect():
    assert judged(steady=False).reasons[0].doubt == Doubt.WARM_UP


def test_a_setting_that_the_network_changed_while_it_was_timed_is_suspect():
    verdict = judged(changed={"the number of threads": "from 2 to 1"})
    assert verdict.text == (
        "SUSPECT: the network changed the number of threads from 2 to 1 while it was timed"
    )
    assert verdict.reasons[0].doubt == Doubt.NETWORK


def test_a_setting_that_anybody_may_have_changed_accuses_nobody():
    verdict = judged(unattributed={"the CPUs of the process": "from 2 to 1"})
    assert verdict.text == ("SUSPECT: the CPUs of the process changed from 2 to 1 during the round")
    assert "Another process" in verdict.reasons[0].doubt.value


def test_more_threads_than_usable_cpus_are_suspect():
    four = Case("resnet50", "plain", threads=4)
    verdict = judged(case=four)
    assert [reason.doubt for reason in verdict.reasons] == [Doubt.THREADS]
    assert verdict.text == "SUSPECT: 4 threads on 2 usable CPUs"
    assert judged(case=four, warnings=["4 threads on 2 usable CPUs"]) == verdict
    assert judged(case=Case("resnet50", "plain", threads=2)).level == "VALID"


def test_warning_text_about_threads_is_no_reason():
    said = ["threads on.py:net warns: 4 threads on 2 usable CPUs"]
    assert judged(warnings=said) == ("VALID", [])


def test_thread_count_is_not_checked_if_cpus_are_unknown():
    unknown = Chip(device="cpu", kind="", name="unknown cpu", threads=0, facts={})
    environment = msgspec.structs.replace(ENVIRONMENT, chip=unknown)
    machine = Machine(MACHINE.quiet, usable_cpus([environment]))
    assert machine.usable_cpus == {}
    record = a_round(case=Case("resnet50", "plain", threads=64))
    assert judge(record, machine).level == "VALID"


def test_each_run_is_judged_by_the_cpus_that_it_could_use():
    """Affinity and quotas change from run to run, and are not part of the environment's id."""
    runs = [
        msgspec.structs.replace(
            ENVIRONMENT,
            run_id=run_id,
            chip=msgspec.structs.replace(ENVIRONMENT.chip, threads=threads),
        )
        for run_id, threads in (("narrow", 1), ("wide", 8))
    ]
    assert len({run.environment_id for run in runs}) == 1
    machine = Machine(MACHINE.quiet, usable_cpus(runs))
    four = Case("resnet50", "plain", threads=4)
    levels = [judge(a_round(case=four, run_id=run.run_id), machine).level for run in runs]
    assert levels == ["SUSPECT", "VALID"]


def test_a_record_without_conditions_is_suspect():
    assert judge(measurement(CASE), Machine()).reasons[0].doubt == Doubt.SENSOR


def test_case_verdict_follows_its_rounds():
    def rounds(*busy):
        idle = msgspec.structs.replace(CLEAN, own_cpu_s=0.0)
        return [
            a_round(number, conditions=msgspec.structs.replace(idle, busy_cpu_s=seconds))
            for number, seconds in enumerate(busy, 1)
        ]

    assert judge_case(rounds(0, 0, 0), MACHINE).level == "VALID"
    one = judge_case(rounds(0, 10, 0, 3), MACHINE)
    assert one.level == "SUSPECT"
    assert one.text == "SUSPECT: other processes used 50 % of the CPUs (2 of 4 rounds)"
    assert judge_case(rounds(0, 10, 10), MACHINE).level == "INVALID"
    assert judge_case(rounds(0, 10), MACHINE).level == "INVALID"  # half of the rounds suffice
    assert judge_case(rounds(0, 0, 10), MACHINE).level == "SUSPECT"


def test_one_process_is_never_valid_and_the_remedy_is_more():
    alone, busy = a_round(1), a_round(2, conditions=msgspec.structs.replace(CLEAN, busy_cpu_s=23))
    verdict = judge_case([alone], MACHINE)
    assert verdict.text == "SUSPECT: it was measured in one process"
    assert "`--rounds 3`" in verdict.reasons[0].doubt.value
    assert judge_case([alone, a_round(2)], MACHINE).level == "VALID"
    assert {reason.doubt for reason in judge_case([busy], MACHINE).reasons} == {
        Doubt.OTHERS,
        Doubt.ONE_PROCESS,
    }
    taken = a_round(1, conditions=msgspec.structs.replace(CLEAN, own_cpu_s=0.0, busy_cpu_s=10))
    assert judge_case([taken], MACHINE).level == "INVALID"


def test_different_power_mode_changes_are_separate_reasons():
    rounds = [
        with_modes(1, "MODE_15W", "MODE_30W"),
        with_modes(2, "MODE_30W", "MODE_15W"),
        with_modes(3, "MODE_15W", "MODE_30W"),
    ]
    assert [reason.text for reason in judge_case(rounds, MACHINE).reasons] == [
        "the power mode changed: MODE_15W to MODE_30W (2 of 3 rounds)",
        "the power mode changed: MODE_30W to MODE_15W (1 of 3 rounds)",
    ]


def test_two_jumps_in_one_round_count_as_one_round():
    slept = [Jump(block=1, suspended_s=30.0), Jump(block=3, suspended_s=40.0)]
    jumped = a_round(1, conditions=msgspec.structs.replace(CLEAN, jumps=slept))
    (reason,) = judge_case([jumped, a_round(2)], MACHINE).reasons
    assert reason.text == "the machine was suspended for 30 s in block 1 (1 of 2 rounds)"


def test_power_cap_is_reported_but_valid():
    capped = msgspec.structs.replace(CLEAN, throttled_by=["sw_power_cap"])
    rounds = [a_round(number, conditions=capped) for number in (1, 2)]
    said = "VALID: the power limit throttled the clock (2 of 2 rounds)"
    assert judge_case(rounds, MACHINE).text == said


@pytest.mark.parametrize(("device", "level"), [("cuda", "VALID"), ("cpu", "SUSPECT")])
def test_the_power_cap_explains_a_lower_clock_of_a_gpu(device, level):
    fallen = msgspec.structs.replace(
        CLEAN, throttled_by=["sw_power_cap"], lowest_clock_hz=1.5e9, highest_clock_hz=1.98e9
    )
    gpu = msgspec.structs.replace(CASE, device=device)
    verdict = judged(conditions=fallen, case=gpu)
    assert verdict.level == level
    assert "the clock fell by 24 %" in verdict.text
    uncapped = msgspec.structs.replace(fallen, throttled_by=[])
    assert judged(conditions=uncapped, case=gpu).level == "SUSPECT"


def test_few_over_current_events_are_valid():
    assert spoilt(over_currents=400) == ("VALID", [])  # 1 ms each, of 10 s


def test_a_short_record_of_a_normal_board_is_not_accused():
    # A board with 27,390 events an hour has 7.6 a second; more than 24 are less likely than 1e-6.
    shortest_s = min(plan.timed_s for plan in PRESETS.values())
    few = msgspec.structs.replace(CLEAN, over_currents=24, wall_s=shortest_s)
    assert Doubt.CURRENT not in {reason.doubt for reason in judged(conditions=few).reasons}


def test_throttle_reasons_of_idleness_and_settings_are_ignored():
    seen = ["applications_clocks_setting", "display_clock_setting", "sync_boost"]
    assert spoilt(throttled_by=seen) == ("VALID", [])


def test_two_missing_sensors_are_two_reasons():
    blind = Conditions(wall_s=1, cpus=2)
    rounds = [a_round(number, conditions=blind) for number in (1, 2, 3)]
    reasons = judge_case(rounds, MACHINE).reasons
    assert [reason.text.endswith("(3 of 3 rounds)") for reason in reasons] == [True, True]


def test_falling_clock_that_follows_the_load_is_not_invalid():
    fell = msgspec.structs.replace(CLEAN, lowest_clock_hz=3e8, highest_clock_hz=2e9)
    cases = [Case("resnet50", "plain", device=name) for name in ("cuda", "orin", "cpu", "no-such")]
    levels = [judged(case=case, conditions=fell).level for case in cases]
    assert levels == ["SUSPECT", "SUSPECT", "INVALID", "INVALID"]


def test_clock_reading_of_zero_is_ignored():
    assert spoilt(lowest_clock_hz=0.0, highest_clock_hz=0.0).level == "VALID"


def test_quiet_state_is_the_ten_percent_quantile():
    rounds = [
        measurement(CASE, n, block_compute_s=[n * 1e-3], block_memory_s=[n * 2e-3])
        for n in range(1, 12)
    ]
    assert quiet_of(rounds) == (0.002, 0.004)
    assert quiet_of([measurement(CASE)]) is None
