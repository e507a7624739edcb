"""Calls of nanoseconds: groups of them are a sample, and a record stays short enough to be read."""

import contextlib

import pytest
from support.networks import PLAN, job, measured
from support.records import CASE, ENVIRONMENT, measurement
from torch import nn

from bench.analysis import explain, rows
from bench.analysis.stats import Tail
from bench.cli.outcome import _to_builtins
from bench.harness import plan
from bench.harness.plan import MOST_SAMPLES, calls_per_sample
from bench.harness.protocol.messages import Block, Ready
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.worker.timing import fastest_call, in_groups
from bench.storage import reader
from bench.storage.history import History
from bench.storage.results import Store, UnreadableRecordError


def test_only_calls_below_50_microseconds_are_grouped():
    assert [calls_per_sample(each) for each in (1.0, 50e-6, 49e-6, 3e-6)] == [1, 1, 3, 34]


def test_a_group_runs_the_call_so_many_times_and_returns_the_last_output():
    made = []
    assert in_groups(lambda: made.append(0) or len(made), 3)() == 3
    assert in_groups(len, 1) is len


def test_the_fastest_call_is_that_of_a_group_where_the_clock_takes_long():
    passed = [0.0]

    def call():
        passed[0] += 1e-6

    def now():
        passed[0] += 9e-6
        return passed[0]

    assert fastest_call(call, now, [70e-6, 10e-6]) == pytest.approx(1.1e-6, rel=0.05)
    assert fastest_call(call, now, [70e-6, 60e-6]) == 60e-6


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_nanoseconds_has_few_samples_each_the_mean_of_a_group():
    record = measured(nn.Identity)
    assert record.calls_per_sample > 1
    seconds = sum(record.samples_s) * record.calls_per_sample
    assert len(record.samples_s) < MOST_SAMPLES / 10
    assert record.stages_s.timed == pytest.approx(seconds, rel=1e-3)


class Child:
    """A child whose call takes `call_s` seconds."""

    def __init__(self, call_s):
        self.call_s = call_s
        self.asked = []

    def ask(self, request):
        self.asked.append(request)

    def answer(self, deadline_s):
        if not self.asked:
            return Ready(9 * self.call_s, None, self.call_s)  # a busy machine slowed the warm-up
        return Block(0.0, [self.call_s] * self.asked[-1].iterations, 1e-3, 1e-3)


def timed_round(call_s, **changes):
    child = Child(call_s)
    subject = CaseRound(job(), child, [], **changes)
    subject.await_ready()
    while not subject.has_enough():
        subject.time_block()
    return subject, child


def test_a_round_has_at_most_as_many_samples_as_a_record(monkeypatch):
    monkeypatch.setattr("bench.harness.scheduler.case_round.MOST_SAMPLES", 1000)
    subject, _ = timed_round(60e-6)
    assert len(subject.samples) == 1000
    assert subject.calls_per_sample == 1


def test_a_round_of_groups_lasts_as_long_as_planned():
    subject, child = timed_round(3e-6)
    assert {each.calls_per_sample for each in child.asked} == {34}
    assert len(subject.samples) == pytest.approx(PLAN.timed_s / 102e-6, rel=0.3)


def test_later_rounds_have_groups_of_the_first_one():
    assert timed_round(60e-6, calls_per_sample=2)[0].calls_per_sample == 2
    assert timed_round(1e-4, calls_per_sample=1)[0].calls_per_sample == 1


def test_presets_stay_below_the_limit_where_calls_are_grouped():
    longest = max(each.timed_s for each in plan.PRESETS.values())
    assert longest / plan.SHORTEST_GROUP_S < MOST_SAMPLES


def test_deviation_and_percentiles_of_groups_are_left_out():
    samples = [1e-6 * (1 + 0.01 * (i % 7)) for i in range(700)]
    usual = measurement(CASE, samples_s=samples)
    grouped = measurement(CASE, samples_s=samples, calls_per_sample=100)
    texts = [dict(explain._of_samples([each])) for each in (usual, grouped)]
    assert "±" in texts[0]["mean"]
    assert "p99" in texts[0]["median"]
    assert "±" not in texts[1]["mean"]
    assert "mean of 100 calls" in texts[1]["mean"]
    assert "p9" not in texts[1]["median"]
    (row,) = rows.of([ENVIRONMENT, grouped])
    assert row.summary.std != row.summary.std
    assert row.tail == Tail()
    assert _to_builtins(CASE, History([grouped], None), None)["std_s"] is None


def test_the_writer_refuses_what_the_reader_would(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "LINE_BYTES", 5000)
    with contextlib.closing(Store(tmp_path)) as store:
        store.open()
        store.append(measurement(CASE))
        size = store.path.stat().st_size
        with pytest.raises(UnreadableRecordError, match="more than 5000 bytes"):
            store.append(measurement(CASE, samples_s=[0.0123456789] * 1000))
        assert store.path.stat().st_size == size
