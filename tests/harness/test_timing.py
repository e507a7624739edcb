import gc

import pytest

from bench.harness.worker.timing import (
    StageClock,
    is_steady,
    pipelined_block,
    timed_block,
    timed_call,
    warm_up,
)


class Clock:
    """A clock that each call advances by the next scripted step."""

    def __init__(self, *steps):
        self.time = 100.0
        self.steps = list(steps)
        self.calls = 0

    def now(self):
        return self.time

    def call(self):
        self.time += self.steps[self.calls % len(self.steps)]
        self.calls += 1


def test_timed_call_returns_the_time_between_two_clock_readings():
    clock = Clock(0.5)
    assert timed_call(clock.call, clock.now) == pytest.approx(0.5)


def test_a_block_keeps_every_sample_in_order():
    clock = Clock(1.0, 2.0, 4.0)
    assert timed_block(clock.call, clock.now, 4).samples_s == pytest.approx([1, 2, 4, 1])
    assert clock.calls == 4


def test_a_pipelined_block_reads_the_clock_twice():
    clock, reads = Clock(1.0, 3.0), []

    def now():
        reads.append(clock.time)
        return clock.time

    assert pipelined_block(clock.call, now, 4) == pytest.approx(2.0)
    assert (clock.calls, len(reads)) == (4, 2)


def test_no_garbage_is_collected_inside_a_block():
    seen = []
    timed_block(lambda: seen.append(gc.isenabled()), Clock(1.0).now, 3)
    assert seen == [False] * 3
    assert gc.isenabled()


def test_garbage_collection_is_enabled_again_after_a_call_raises():
    with pytest.raises(ZeroDivisionError):
        timed_block(lambda: 1 / 0, Clock(1.0).now, 1)
    assert gc.isenabled()


def test_warm_up_lasts_for_seconds_and_at_least_four_calls():
    short, long = Clock(0.25), Clock(1.5)
    assert warm_up(short.call, short.now, 1.25).durations_s == pytest.approx([0.25] * 5)
    assert len(warm_up(long.call, long.now, 1.0).durations_s) == 4


def test_warm_up_continues_while_calls_get_faster():
    clock = Clock(*(0.2 * 0.9**n for n in range(12)), *([0.05] * 1000))
    found = warm_up(clock.call, clock.now, 1.0)
    assert found.steady
    assert sum(found.durations_s) > 1.3
    assert found.durations_s[-1] == pytest.approx(0.05)


def test_warm_up_without_a_steady_state_ends_as_not_steady():
    clock = Clock(*(0.5 * 0.9**n for n in range(100)))
    found = warm_up(clock.call, clock.now, 1.0)
    assert not found.steady
    assert 3.0 <= sum(found.durations_s) < 3.6


def test_calls_that_get_slower_count_as_steady():
    assert is_steady([0.1, 0.1, 0.2, 0.2], 0.4)
    assert not is_steady([0.2, 0.2, 0.1, 0.1], 0.2)


def test_stages_add_up_and_are_announced():
    clock, announced = Clock(1.0), []
    stages = StageClock(clock.now, announced.append)
    for name in ("build", "check", "build"):
        with stages.stage(name):
            clock.call()
    stages.add("timed", 0.25)
    assert announced == ["build", "check", "build"]
    assert (stages.stages.build, stages.stages.check, stages.stages.timed) == (2.0, 1.0, 0.25)
    assert stages.stages.total == 3.25
    assert stages.current == "build"
