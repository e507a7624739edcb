"""Blocks that wait for a quiet machine, and rounds that other programs spoil all the same."""

import statistics

import msgspec
import pytest
from support import runs
from support.records import CASE, OBSERVED, QUIET, measurement
from support.runs import PLAN, Listener, fake

from bench.analysis.disturbance import counted, undisturbed
from bench.devices import clocks
from bench.devices.fake import BURST_FACTOR, BURST_S, KERNEL_S, FakeSession
from bench.errors import UsageError
from bench.harness.protocol.messages import Block, Wait
from bench.harness.scheduler.patience import FEWEST_BLOCKS, MOST_S, Patience
from bench.harness.suite import Suite, plan_for
from bench.harness.worker.blocks import REST_S, calibrate_when_quiet
from bench.records import Measurement

QUIET_S = (0.0014, 0.0044)  # the kernels take at most this on a quiet machine
SLOW_S = tuple(BURST_FACTOR * seconds for seconds in KERNEL_S)
BLOCK = Block(0.0, [0.01], *KERNEL_S)
BIASED_BY = 2e-3  # largest change of a ratio by waiting and by leaving rounds out


@pytest.fixture
def time_s(monkeypatch):
    """A clock of the parent that a test sets: a list of one number."""
    now = [100.0]
    monkeypatch.setattr(clocks, "monotonic", lambda: now[0])
    return now


def in_a_burst():
    session = FakeSession("bursts")
    session.rest(1.1 * BURST_S)
    return session


def test_a_block_waits_until_the_kernels_are_fast():
    session = in_a_burst()
    found, rested_s = calibrate_when_quiet(session.kernels(), session, Wait(*QUIET_S, MOST_S))
    assert found == pytest.approx(KERNEL_S)
    assert 0.5 * BURST_S < rested_s < BURST_S + REST_S


@pytest.mark.parametrize(
    "wait", [None, Wait(*(2 * s for s in SLOW_S), MOST_S), Wait(*QUIET_S, 0.0)]
)
def test_a_block_begins_at_once_without_a_reason_to_wait(wait):
    session = in_a_burst()
    found, rested_s = calibrate_when_quiet(session.kernels(), session, wait)
    assert found == pytest.approx(SLOW_S)
    assert rested_s == 0.0


def test_a_block_begins_when_its_wait_is_over():
    session = in_a_burst()
    wait = Wait(*QUIET_S, 0.5 * REST_S)
    found, rested_s = calibrate_when_quiet(session.kernels(), session, wait)
    assert found == pytest.approx(SLOW_S)
    assert 0.5 * REST_S <= rested_s < 2 * REST_S


def test_patience_is_a_share_of_the_seconds_of_the_run(time_s):
    patience = Patience(0.25)
    time_s[0] += 20.0
    for _ in range(FEWEST_BLOCKS):
        assert patience.wait(CASE) is None  # nobody knows yet how fast a quiet machine is
        patience.timed(CASE, BLOCK)
    assert patience.wait(CASE).most_s == pytest.approx(5.0)
    assert patience.wait(CASE).compute_s == pytest.approx(1.35 * KERNEL_S[0])
    patience.timed(CASE, msgspec.structs.replace(BLOCK, rested_s=4.0))
    assert patience.wait(CASE).most_s == pytest.approx(1.0)
    patience.timed(CASE, msgspec.structs.replace(BLOCK, rested_s=1.0))
    assert patience.wait(CASE) is None
    time_s[0] += 1000.0
    assert patience.wait(CASE).most_s == MOST_S


def test_a_run_without_patience_neither_waits_nor_repeats(time_s):
    patience = Patience(0.0)
    for _ in range(2 * FEWEST_BLOCKS):
        patience.timed(CASE, BLOCK)
    time_s[0] += 100.0
    assert patience.wait(CASE) is None
    assert patience.spoilt_by(busy()) == []


def busy(**changes):
    conditions = msgspec.structs.replace(QUIET, busy_cpu_s=1.3)
    return measurement(CASE, 1, **{**OBSERVED, "conditions": conditions, **changes})


def test_a_round_is_spoilt_by_what_the_machine_shows_and_not_by_its_samples():
    patience = Patience(0.25)
    assert patience.spoilt_by(busy()) == ["other processes used 15 % of the CPUs"]
    slow = measurement(CASE, 1, **{**OBSERVED, "samples_s": [1.0, 9.0], "steady": False})
    assert patience.spoilt_by(slow) == []
    for _ in range(FEWEST_BLOCKS):
        patience.timed(CASE, BLOCK)
    kernels = {"block_compute_s": [SLOW_S[0]], "block_memory_s": [KERNEL_S[1]]}
    (text,) = patience.spoilt_by(measurement(CASE, 1, **{**OBSERVED, **kernels}))
    assert text.startswith("computation took 6.0 times as long")


def test_kernels_of_other_threads_do_not_tell_what_is_quiet():
    patience = Patience(0.25)
    more_threads = msgspec.structs.replace(CASE, threads=CASE.threads + 1)
    slower = Block(0.0, [0.01], *SLOW_S)
    for _ in range(FEWEST_BLOCKS):
        patience.timed(CASE, BLOCK)
        patience.timed(more_threads, slower)
    kernels = {"block_compute_s": [SLOW_S[0]], "block_memory_s": [SLOW_S[1]]}
    assert patience.spoilt_by(measurement(CASE, 1, **{**OBSERVED, **kernels})) != []
    assert patience.spoilt_by(measurement(more_threads, 1, **{**OBSERVED, **kernels})) == []


def test_a_run_waits_and_records_for_how_long(tmp_path):
    plan = msgspec.structs.replace(PLAN, rounds=4, patience=0.9, pace_s=0.1)
    began_s = clocks.monotonic()
    store, _ = runs.measure(tmp_path, [fake("fault/bursts"), fake("swin_t")], plan, Listener())
    took_s = clocks.monotonic() - began_s
    rounds = [record for record in store.records if isinstance(record, Measurement)]
    rested = dict.fromkeys(("fault/bursts", "swin_t"), 0.0)
    for record in rounds:
        rested[record.case.model] += record.rested_s
    assert rested["swin_t"] == 0.0
    assert 0.0 < rested["fault/bursts"] < 0.9 * took_s
    assert len(rounds) >= 8


@pytest.mark.parametrize("patience", [-0.1, 1.0, float("nan"), float("inf")])
def test_patience_is_a_share(patience):
    with pytest.raises(UsageError, match="invalid patience"):
        plan_for("quick", Suite(), None, None, patience)


def test_waiting_and_repeating_do_not_bias_a_ratio():
    """Bursts slow the kernels and not the networks, so no ratio may change."""
    fast, slow = fake("resnet50"), fake("swin_t")
    every = {case: simulated_rounds(case, 2500) for case in (fast, slow)}
    left_out = [len(rounds) - len(undisturbed(rounds)) for rounds in every.values()]
    assert min(left_out) > 200
    with_all = latency(every[fast]) / latency(every[slow])
    without = latency(undisturbed(every[fast])) / latency(undisturbed(every[slow]))
    assert abs(without / with_all - 1) < BIASED_BY
    for rounds in every.values():  # what biases both networks alike cancels in their ratio
        assert abs(latency(undisturbed(rounds)) / latency(rounds) - 1) < BIASED_BY


def latency(rounds):
    return statistics.fmean(statistics.median(record.samples_s) for record in rounds)


def simulated_rounds(case, count):
    """Rounds of two blocks, each of which waits for at most 0.1 s; a spoilt round is repeated."""
    patience = Patience(0.5)
    for _ in range(FEWEST_BLOCKS):
        patience.timed(CASE, BLOCK)
    rounds = []
    while len(counted(rounds[-2:])) < 1 or len(rounds) < count:
        rounds.append(simulated_round(case, len(rounds) + 1, patience))
    return rounds


def simulated_round(case, number, patience):
    session = FakeSession("bursts")
    session.rest(0.37 * number)  # another phase of the bursts in each round
    call = session.network(case, number)
    samples, kernels = [], []
    for _ in range(2):
        found, _ = calibrate_when_quiet(session.kernels(), session, Wait(*QUIET_S, REST_S))
        kernels.append(found)
        for _ in range(3):
            began = session.now()
            call()
            samples.append(session.now() - began)
    compute, memory = map(list, zip(*kernels, strict=True))
    shape = {"block_sizes": [3, 3], "block_starts_s": [0.0, 1.0]}
    blocks = {"samples_s": samples, "block_compute_s": compute, "block_memory_s": memory, **shape}
    made = measurement(case, number, **{**OBSERVED, **blocks})
    return msgspec.structs.replace(made, spoilt_by=patience.spoilt_by(made))
