import msgspec
import pytest
from support.records import CASE, measurement

from bench.analysis.reasons import Doubt, Observation
from bench.analysis.stillness import Stall, stalls, usual_of
from bench.analysis.verdict import Machine, Quiet, judge, judge_case
from bench.records import Conditions

CLEAN = Conditions(wall_s=1, cpus=2, own_cpu_s=1, busy_cpu_s=1, stolen_cpu_s=0, throttled_s=0)
CALM = [0.010] * 40


def a_round(blocks, idle_s, **changes):
    return measurement(
        CASE,
        samples_s=[sample for block in blocks for sample in block],
        block_sizes=[len(block) for block in blocks],
        block_starts_s=[float(number) for number in range(len(blocks))],
        block_compute_s=[0.001] * len(blocks),
        block_memory_s=[0.002] * len(blocks),
        conditions=msgspec.structs.replace(CLEAN, idle_s=idle_s, **changes),
    )


def judged(*arguments, **changes):
    return judge(a_round(*arguments, **changes), Machine(Quiet(0.001, 0.002)))


def test_a_stop_in_one_block_is_a_stall_of_its_length():
    stopped = [*CALM[:20], 5.010, *CALM[:19]]
    found = list(stalls(a_round([CALM, stopped, CALM], [0.0, 5.0, 0.01])))
    assert found == [Stall(2, pytest.approx(5.0))]


def test_a_stop_that_ends_the_round_after_its_first_block_is_a_stall():
    assert [each.block for each in stalls(a_round([[*CALM[:9], 5.010]], [5.0]))] == [1]


def test_a_stop_in_a_block_of_groups_of_calls_is_as_long_as_the_stop():
    """A sample is the mean of 10 calls, so a stop of 1 s adds 0.1 s to it."""
    blocks = [[1e-5] * 10, [1e-5] * 9 + [0.10001]]
    record = msgspec.structs.replace(a_round(blocks, [0.0, 1.0]), calls_per_sample=10)
    assert list(stalls(record)) == [Stall(2, pytest.approx(1.0))]


def test_a_stop_of_a_slow_network_is_a_stall():
    found = list(stalls(a_round([[2.0], [9.0], [2.1]], [0.0, 7.0, 0.0])))
    assert found == [Stall(2, pytest.approx(6.9))]


def test_a_stop_of_half_a_call_is_a_stall():
    found = list(stalls(a_round([[0.5], [0.74], [0.5], [0.5], [0.5]], [0, 0.24, 0, 0, 0])))
    assert found == [Stall(2, pytest.approx(0.24))]


@pytest.mark.parametrize("count", [1, 2])
def test_a_stop_of_a_case_with_one_sample_in_each_round_is_a_stall(count):
    """A slow case has one sample in each round of `quick` and `default`."""
    rounds = [a_round([[2.0]], [0.0])] * count + [a_round([[7.0]], [5.0])]
    assert list(stalls(rounds[-1], usual_of(rounds))) == [Stall(1, pytest.approx(5.0))]
    reasons = judge_case(rounds, Machine(Quiet(0.001, 0.002))).reasons
    (still,) = [each for each in reasons if each.observation is Observation.STOOD_STILL]
    assert still.text.startswith("the process stood still for 5.0 s in block 1")
    assert (still.level, still.in_rounds, still.of_rounds) == ("INVALID", 1, count + 1)


def test_a_slow_network_that_sleeps_in_each_call_or_whose_threads_take_turns_does_not_stand_still():
    """A slower round or block idles as much longer as it takes longer."""
    rounds = [a_round([[2.0]], [1.0]), a_round([[2.6]], [1.3]), a_round([[2.0]], [1.0])]
    assert [list(stalls(record, usual_of(rounds))) for record in rounds] == [[], [], []]
    assert list(stalls(a_round([[0.5], [0.7], [0.5]], [0.25, 0.35, 0.25]))) == []


def test_a_network_that_sleeps_in_each_call_does_not_stand_still():
    """Also where calls are of different length: the idle time of a call is the same."""
    loaded = [0.010, 0.030] * 20
    asleep = [0.005 * len(CALM)] * 3
    assert list(stalls(a_round([CALM, CALM, CALM], asleep))) == []
    assert list(stalls(a_round([CALM, loaded, CALM], asleep))) == []
    assert list(stalls(a_round([CALM], asleep[:1]))) == []


def test_a_stop_of_a_network_that_sleeps_is_as_long_as_the_stop():
    stopped = [*CALM[:39], 1.010]
    found = list(stalls(a_round([CALM, stopped, CALM], [0.2, 1.2, 0.2])))
    assert found == [Stall(2, pytest.approx(1.0))]


def test_long_samples_of_a_process_that_waited_for_a_cpu_are_no_stall():
    assert list(stalls(a_round([CALM, [*CALM[:39], 1.0], CALM], [0.0, 0.01, 0.0]))) == []


@pytest.mark.parametrize(("still_s", "found"), [(0.045, []), (0.06, [2])])
def test_a_short_stop_is_no_stall(still_s, found):
    short = [*CALM[:20], 0.010 + still_s]
    blocks, idle_s = [CALM, short, CALM], [0.0, still_s, 0.0]
    assert [each.block for each in stalls(a_round(blocks, idle_s))] == found


def test_a_stop_below_a_tenth_of_a_block_is_no_stall():
    long = [0.010] * 100
    assert list(stalls(a_round([long, [*long, 0.110], long], [0.0, 0.1, 0.0]))) == []


def test_the_verdict_names_the_length_and_the_block():
    stopped = [*CALM[:20], 5.010, *CALM[:19]]
    verdict = judged([CALM, stopped, CALM], [0.0, 5.0, 0.0])
    assert verdict.text == "INVALID: the process stood still for 5.0 s in block 2"
    assert verdict.reasons[0].doubt == Doubt.STOPPED
    short = [*CALM[:20], 0.110, *CALM[:19]]
    verdict = judged([CALM, short, CALM], [0.0, 0.1, 0.0])
    assert verdict.text == "SUSPECT: the process stood still for 0.10 s in block 2"


@pytest.mark.parametrize("device", ["cpu", "cuda", "orin"])
def test_a_stop_that_stops_the_clock_too_is_seen_by_the_parent(device):
    """As of a virtual machine: the largest sample does not show it, on no device."""
    times = {"counted_s": 1.2, "waited_s": 6.2}
    record = a_round([CALM, CALM, CALM], [0.0, 0.0, 0.0], **times)
    case = msgspec.structs.replace(CASE, device=device)
    record = msgspec.structs.replace(record, case=case, case_id=case.case_id)
    verdict = judge(record, Machine(Quiet(0.001, 0.002)))
    doubts = [each.doubt for each in verdict.reasons if each.level == "INVALID"]
    assert doubts == [Doubt.FALSE_CLOCK]


def test_a_system_without_the_numbers_is_not_judged_and_says_so():
    stopped = [*CALM[:20], 5.010, *CALM[:19]]
    verdict = judged([CALM, stopped, CALM], [], missing={"thread_s": "no /proc/self/task"})
    said = "VALID: nobody checked whether the process stood still: no /proc/self/task"
    assert verdict.text == said


def test_old_records_are_not_judged():
    assert judged([CALM, [5.0], CALM], []).text == "VALID"
