"""`bench selfcheck` on the fake device, whose true latencies are known, and each of its parts."""

import functools
import math
import random
import re

import msgspec
import pytest
from support.paths import ROOT
from support.records import FULLY_USED, measurement

from bench.analysis.reasons import Doubt
from bench.diagnostics.selfcheck import PLANTS, Parts, faults, findings
from bench.errors import UsageError
from bench.records import Case


@pytest.mark.slow
def test_selfcheck_passes_on_the_fake_device_and_resumes(bench, tmp_path):
    done = bench("selfcheck", "--device", "fake", "--full", "--out", "out")
    page = (tmp_path / "out" / "fake" / "selfcheck.md").read_text()
    lines = [line for line in done.stdout.splitlines() if line.startswith(("pass", "FAIL"))]
    # Fake processes differ by 3 %, so a copy that is 5 % slower is not always detected.
    failed = [line for line in lines if line.startswith("FAIL") and "made 5 %" not in line]
    assert failed == []
    assert done.returncode in (0, 1)
    for claim in ("false alarms", "sensitivity: a copy made 10 % slower", "in 6 separate runs"):
        assert any(claim in line for line in lines), claim
    for fault in ("CPU hog", "cgroup quota", "steal", "throttled clock", "missing sensor", "NaN"):
        assert any(f"fault: {fault}" in line for line in lines), fault
    assert any("20 of 20 VALID" in line for line in lines)
    assert "## Numbers" in page
    assert (tmp_path / "out" / "fake" / "selfcheck.png").read_bytes().startswith(b"\x89PNG")
    again = bench("selfcheck", "--device", "fake", "--full", "--out", "out")
    assert "pool: done" in again.stderr
    assert (tmp_path / "out" / "fake" / "selfcheck.md").read_text() == page


def test_records_of_selfcheck_are_not_results_of_the_device(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.diagnostics.selfcheck.POOL_ROUNDS", 2)
    bench("selfcheck", "--device", "fake", "--out", "out")
    assert (tmp_path / "out/fake/selfcheck/pool/results.jsonl").exists()
    assert "no results" in bench("report", "out").stderr


A_A = "a network against itself: replica b / replica a"


def pool(*, shift=0.0, rounds=8, noise=0.0, seed=0):
    """Return rounds. `shift` is a share that a wrong harness adds to replica b.

    `noise` is the standard deviation of the log between the processes of a round.
    """
    draw = random.Random(seed)
    records = []
    for number in range(1, rounds + 1):
        for percent in PLANTS:
            for replica in ("a", "b"):
                case = Case(f"self/resnet18+{percent}/{replica}", "plain", device="fake")
                slower = 1 + percent / 100 + (shift if replica == "b" else 0)
                noisy = 0.01 * slower * (1 + 0.0001 * (number % 3))
                noisy *= math.exp(draw.gauss(0, noise))
                records.append(
                    measurement(
                        case,
                        number,
                        samples_s=[noisy] * 4,
                        block_sizes=[2, 2],
                        block_starts_s=[number * 10.0, number * 10.0 + 5],
                        conditions=FULLY_USED,
                    )
                )
    return records


def criteria_of(parts):
    return {each.claim: each for each in findings.of(parts).criteria}


def test_an_exact_harness_meets_its_criteria():
    found = criteria_of(
        Parts(pool(), [], [], {"eager": [(1.0, 1.0), (1.001, 1.0), (1.0, 1.0)]}, [])
    )
    assert found["false alarms: a network against itself"].passed
    assert found["sensitivity: a copy made 5 % slower"].passed
    assert found["fidelity: harness / bare loop"].passed


def test_a_harness_that_favours_one_side_raises_false_alarms():
    found = criteria_of(Parts(pool(shift=-0.2), [], [], {}, []))
    assert not found["false alarms: a network against itself"].passed
    assert not found[A_A].passed


@functools.cache
def forty_selfchecks(shift=0.0):
    """The criteria of forty selfchecks at the noise of the committed page."""
    pools = [pool(shift=shift, rounds=16, noise=0.027, seed=seed) for seed in range(40)]
    return [criteria_of(Parts(each, [], [], {}, [])) for each in pools]


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 0, 2), (0.03, 38, 40)])
def test_a_replica_that_is_3_per_cent_slower_is_found(shift, least, most):
    """As often as the interval promises at the noise of the committed selfcheck: in 99 %."""
    failed = [not each[A_A].passed for each in forty_selfchecks(shift)]
    assert least <= sum(failed) <= most


@pytest.mark.parametrize(("percent", "least"), [(5, 36), (10, 39)])
def test_a_slowed_copy_is_found_in_most_selfchecks(percent, least):
    """At the noise of the committed page; the docstring of the criterion says 98 % for 5 %."""
    claim = f"sensitivity: a copy made {percent} % slower"
    assert sum(each[claim].passed for each in forty_selfchecks()) >= least


def test_a_harness_that_shows_half_of_a_slow_down_fails():
    damped = [
        msgspec.structs.replace(each, samples_s=[0.0105 + 1e-6 * each.round] * 4)
        if "+10/" in each.case.model
        else each
        for each in pool()
    ]
    found = criteria_of(Parts(damped, [], [], {}, []))["sensitivity: a copy made 10 % slower"]
    assert found.found.startswith("SLOWER: 1.05")
    assert not found.passed


def test_fewer_than_three_complete_rounds_fail_with_a_remedy():
    torn = [each for each in pool(rounds=3) if each.round < 3 or "+5/" not in each.case.model]
    found = criteria_of(Parts(torn, [], [], {"eager": [(1.0, 1.0)] * 2}, []))
    for claim in (A_A, "sensitivity: a copy made 5 % slower"):
        assert not found[claim].passed
        assert "complete rounds: 2; it needs 3. Run the same command" in found[claim].found
    assert not found["false alarms: a network against itself"].passed
    assert not found["fidelity: harness / bare loop"].passed


def test_pairs_are_fixed_and_no_process_is_in_two_of_them():
    pairs = findings.of(Parts(pool(shift=0.01), [], [], {}, [])).pairs
    assert [round(each.point, 3) for each in pairs[0]] == [1.01, 1.01, 1.009]
    assert [round(each.point, 3) for each in pairs[10]] == [1.1, 1.099]


def test_two_runs_that_miss_the_true_ratio_fail():
    def run(shift, seed):
        both = pool(shift=shift, rounds=6, noise=0.001, seed=seed)
        return [each for each in both if "+0/" in each.case.model]

    one, two = ([run(0.04 * (seed < missed), seed) for seed in range(6)] for missed in (1, 2))
    claim = "the intervals of these 6 ratios"
    assert criteria_of(Parts(pool(), one, [], {}, []))[claim].passed
    assert not criteria_of(Parts(pool(), two, [], {}, []))[claim].passed


def test_a_harness_that_does_not_detect_slow_copies_fails():
    blind = [
        msgspec.structs.replace(record, samples_s=[0.01 + 1e-6 * record.round] * 4)
        for record in pool()
    ]
    found = criteria_of(Parts(blind, [], [], {}, []))
    assert found["false alarms: a network against itself"].passed
    assert not found["sensitivity: a copy made 10 % slower"].passed


def test_a_harness_that_adds_two_per_cent_fails_fidelity():
    found = criteria_of(
        Parts(pool(), [], [], {"cudagraph": [(1.02, 1.0), (1.03, 1.0), (1.02, 1.0)]}, [])
    )
    assert not found["fidelity: device time of a graph / bare replays"].passed


def test_each_simulated_fault_is_named_by_its_verdict():
    found = faults.scripted(measurement(Case("resnet50", "plain"), **kernels()))
    assert [each.fault for each in found] == [
        "nothing",
        "steal",
        "cgroup quota",
        "throttled clock",
        "missing sensor",
    ]
    assert all(each.passed for each in found), found
    assert found[0].verdict == "VALID"
    words = (
        "host gave 30 %",
        "quota stopped this process for 20 %",
        "clock fell by 30 %",
        "no /proc/stat",
    )
    for each, word in zip(found[1:], words, strict=True):
        assert word in each.verdict


def test_a_fault_that_the_verdict_does_not_name_fails():
    clean = measurement(Case("resnet50", "plain"), conditions=FULLY_USED, **kernels())
    assert not faults.judge_fault("hog", "", clean, Doubt.OTHERS).passed


def kernels():
    return {"block_compute_s": [0.001], "block_memory_s": [0.002]}


@pytest.mark.parametrize(("factory", "percent"), [("resnet18_5", 5), ("resnet18_10", 10)])
def test_a_slowed_copy_waits_for_its_share_of_the_call(factory, percent, monkeypatch):
    import torch
    from torch import nn

    from bench.diagnostics.selfcheck import plant

    class Slow(nn.Module):
        def forward(self, images):
            clock.time += 1.0
            return images

    class Clock:
        time = 0.0

        def perf_counter(self):
            self.time += 1e-4
            return self.time

    clock = Clock()
    monkeypatch.setattr(plant.timm, "create_model", lambda _: Slow())
    monkeypatch.setattr(plant, "time", clock)
    net = getattr(plant, factory)()
    net(torch.zeros(1))
    assert clock.time == pytest.approx(1 + percent / 100, abs=0.002)


def test_the_hog_runs_until_its_block_ends():
    with faults.Hog() as hog:
        assert all(process.poll() is None for process in hog._processes)
    assert all(process.poll() is not None for process in hog._processes)


def test_the_committed_page_has_each_criterion_and_the_command_to_repeat_it():
    page = (ROOT / "reports" / "amd-epyc" / "selfcheck.md").read_text()
    assert "`bench selfcheck --device cpu --full`" in page
    claims = re.findall(r"^\| (.+?) +\|", page, re.M)
    for claim in ("false alarms", "sensitivity", "fidelity", "separate runs", "fault: CPU hog"):
        assert any(claim in each for each in claims), claim


@pytest.mark.xfail(strict=True, reason="the committed page was made before these criteria")
def test_the_committed_page_has_the_criteria_of_fixed_pairs():
    page = (ROOT / "reports" / "amd-epyc" / "selfcheck.md").read_text()
    made = criteria_of(Parts(pool(), [], [], {"eager": [(1.0, 1.0)] * 2}, []))
    for each in made.values():
        assert re.search(
            rf"^\| {re.escape(each.claim)} +\| {re.escape(each.required)} ", page, re.M
        )


def test_busy_processes_end_where_the_system_allows_no_more_of_them(monkeypatch):
    started, ended = [], []

    class Process:
        def __init__(self, *_, **__):
            if started:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            started.append(self)

        kill = wait = lambda self: ended.append(self)

    monkeypatch.setattr(faults.subprocess, "Popen", Process)
    monkeypatch.setattr(faults, "allowed_cpus", lambda: {0, 1})
    with pytest.raises(UsageError, match="cannot start a busy process"), faults.Hog():
        pass
    assert ended == started * 2
