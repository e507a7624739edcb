"""Two cases compared by their rounds."""

import math

import msgspec
import pytest
from support.records import measurement

from bench.analysis.pairs import pair_rounds
from bench.analysis.ratio import (
    OF_RUNS,
    compare,
    drift_of,
    usual_state,
    with_more_rounds,
)
from bench.records import Case

BASE, CANDIDATE = Case("resnet50", "plain"), Case("swin_t", "plain")


def rounds_of(case, *blocks_of_rounds, start=0.0, kernels=(0.001, 0.002), run_id="run"):
    """One record per round; each block has three equal samples."""
    found = []
    for number, blocks in enumerate(blocks_of_rounds, 1):
        count = len(blocks)
        found.append(
            measurement(
                case,
                number,
                run_id=run_id,
                samples_s=[s for block in blocks for s in [block] * 3],
                block_sizes=[3] * count,
                block_starts_s=[100 * number + start + 10 * i for i in range(count)],
                block_compute_s=[kernels[0]] * count,
                block_memory_s=[kernels[1]] * count,
            )
        )
    return found


def test_blocks_of_the_same_turn_are_paired():
    pairs = pair_rounds(
        rounds_of(BASE, [1.0, 2.0, 4.0], [1.0]), rounds_of(CANDIDATE, [1.1, 2.2], [1.3], start=5)
    )
    ratios = [[math.exp(pair.log_ratio) for pair in each] for each in pairs]
    assert ratios == [pytest.approx([1.1, 1.1]), pytest.approx([1.3])]
    assert pairs[0][0].state == pytest.approx((math.log(0.001), math.log(0.002)))


def test_drift_common_to_both_cases_cancels():
    drifting = [[1.0, 1.5, 2.2], [3.0, 2.0, 1.0], [1.0, 5.0, 2.0]]
    slower = [[1.1 * b for b in blocks] for blocks in drifting]
    found = compare(rounds_of(BASE, *drifting), rounds_of(CANDIDATE, *slower, start=5))
    assert (found.finding, found.rounds) == ("SLOWER", 3)
    assert found.ratio == pytest.approx((1.1, 1.1, 1.1))
    assert found.base_s == pytest.approx((1.5 * 2.2 * 6 * 10) ** (1 / 9))


def test_latencies_agree_with_the_ratio_whatever_the_other_rounds_say():
    """The base alone has two slow rounds more, so a mean over all processes would be misleading."""
    base = rounds_of(BASE, [1.0, 1.2], [1.1], [1.1], [5.0], [5.0])
    candidate = rounds_of(CANDIDATE, [1.1, 1.3], [1.2], [1.2], start=5)
    for found in (
        compare(base, candidate),
        compare(base, rounds_of(BASE, [2.0], [3.0], [3.0], run_id="x")),
    ):
        assert found.candidate_s / found.base_s == pytest.approx(found.ratio.point)
    assert compare(base, candidate).base_s < 1.2


def test_undecided_comparison_estimates_rounds_to_decide():
    found = compare(
        rounds_of(BASE, [1.0], [1.0], [1.0]), rounds_of(CANDIDATE, [1.05], [1.11], [1.09], start=5)
    )
    assert found.finding == "UNDECIDED"
    assert found.more_rounds is None  # a table of hundreds of rows has no use for it
    assert 1 <= with_more_rounds(found).more_rounds < 20


def test_rounds_of_different_sittings_are_not_paired():
    base, late = rounds_of(BASE, [1.0], [1.0]), rounds_of(CANDIDATE, [1.1], [1.1])
    base = [msgspec.structs.replace(r, sitting=n) for n, r in enumerate(base, 1)]
    late = [msgspec.structs.replace(r, sitting=n) for n, r in enumerate(late, 3)]
    assert pair_rounds(base, late) == []


def test_rounds_of_one_sitting_are_paired_despite_different_numbers():
    """The round numbers differ if one case was measured earlier or lost a record."""
    base = rounds_of(BASE, [9.0], [9.0], [1.0], [1.0], [1.0])[2:]
    candidate = rounds_of(CANDIDATE, [1.2], [1.2], [1.2])
    base, candidate = (
        [msgspec.structs.replace(r, sitting=n) for n, r in enumerate(side, 1)]
        for side in (base, candidate)
    )
    assert compare(base, candidate).ratio == pytest.approx((1.2, 1.2, 1.2))


def test_interval_of_runs_at_different_times_includes_drift():
    base = rounds_of(BASE, [1.00], [1.01], [0.99], run_id="then")
    same = rounds_of(BASE, [1.10], [1.11], [1.09], run_id="now")
    still = compare(base, same)
    assert (still.finding, still.rounds) == ("SLOWER", 0)
    moved = rounds_of(BASE, [1.10], [1.11], [1.09], run_id="now", kernels=(0.0012, 0.002))
    assert compare(base, moved).finding == "UNDECIDED"
    assert "different times" in compare(base, moved).note


def test_runs_at_different_times_without_kernels_have_no_ratio():
    base = [measurement(BASE, n, run_id="then") for n in (1, 2, 3)]
    found = compare(base, [measurement(BASE, n, run_id="now") for n in (1, 2, 3)])
    assert (found.finding, found.ratio) == ("UNDECIDED", None)
    assert "unknown" in found.note


@pytest.mark.parametrize(("count", "said"), [(1, "one round"), (2, "2 rounds")])
def test_few_rounds_have_no_ratio_and_a_remedy(count, said):
    turns = [[1.0]] * count, [[9.0]] * count
    found = compare(rounds_of(BASE, *turns[0]), rounds_of(CANDIDATE, *turns[1], start=5))
    assert (found.finding, found.ratio, found.rounds) == ("UNDECIDED", None, count)
    assert found.note == f"{said} cannot decide: run the same command with --rounds 6"
    assert found.candidate_s / found.base_s == pytest.approx(9)


@pytest.mark.parametrize(
    ("times", "finding", "rounds"), [(9.0, "SLOWER", 0), (1.0, "UNDECIDED", 1)]
)
def test_cases_that_took_few_turns_are_compared_by_all_rounds(times, finding, rounds):
    base = rounds_of(BASE, [1.0], [1.01], [0.99], run_id="then")
    base += rounds_of(BASE, [1.0], run_id="now")
    slower = [[times], [1.02 * times], [0.98 * times]]
    found = compare(base, rounds_of(CANDIDATE, *slower, start=5, run_id="now"))
    assert (found.finding, found.rounds) == (finding, rounds)
    said = "one round cannot decide" if rounds else "measured at different times"
    assert said in found.note


@pytest.mark.parametrize("counts", [(2, 3), (3, 2)])
def test_few_processes_of_different_times_have_no_ratio_and_a_remedy(counts):
    then, now = (
        rounds_of(BASE, *[[1.0]] * count, run_id=run_id)
        for count, run_id in zip(counts, ("then", "now"), strict=True)
    )
    found = compare(then, now)
    assert (found.finding, found.ratio) == ("UNDECIDED", None)
    assert found.note == "each side needs 3 processes: run each with --rounds 3 or more"


def test_after_a_budget_more_rounds_need_a_run_without_it():
    ended = [msgspec.structs.replace(r, stopped_by="budget") for r in rounds_of(BASE, [1.0])]
    found = compare(ended, rounds_of(CANDIDATE, [9.0], start=5))
    assert found.note.endswith("with --rounds 6 and without --budget")


def test_drift_is_the_larger_kernel_change_between_rounds_or_sides():
    three = [rounds_of(BASE, [1.0], kernels=(s, 0.002))[0] for s in (0.001, 0.002, 0.004)]
    assert drift_of(three, three) == pytest.approx(math.log(2) * math.sqrt(0.8))
    moved = [rounds_of(BASE, [1.0], kernels=(0.002, 0.004))[0]] * 3
    still = [rounds_of(BASE, [1.0], kernels=(0.002, 0.002))[0]] * 3
    assert drift_of(still, moved) == pytest.approx(math.log(2))
    assert drift_of(three[:1], three[1:2]) is None
    assert drift_of([measurement(BASE)] * 3, three) is None


def test_the_usual_state_is_the_median_of_all_blocks():
    three = [rounds_of(BASE, [1.0], kernels=(s, 0.002))[0] for s in (0.001, 0.002, 0.009)]
    assert usual_state(three) == pytest.approx((math.log(0.002), math.log(0.002)))
    assert usual_state([measurement(BASE)]) is None


def test_ratio_is_adjusted_to_the_usual_state():
    """In every second round the compute kernel slows, and only the candidate slows with it."""
    base, candidate = [], []
    for number in range(1, 9):
        slow = number % 2
        compute, slower = 0.001 * (1 + slow), 1.2 ** (2 * slow)
        base += rounds_of(BASE, *[[1.0] * 4] * number, kernels=(compute, 0.002))[-1:]
        noisy = [slower * f for f in (1.0, 1.01, 0.99, 1.0)]
        candidate += rounds_of(CANDIDATE, *[noisy] * number, start=5, kernels=(compute, 0.002))[-1:]
    quiet = (math.log(0.001), math.log(0.002))
    found = compare(base, candidate, usual=quiet)
    assert found.ratio.point == pytest.approx(1.2, rel=0.01)
    assert found.adjusted.point == pytest.approx(1.0, abs=0.03)


def test_an_interval_holds_what_varies_between_runs():
    """Each run alone would decide, but the runs contradict each other."""
    base, candidate = [], []
    for run, ratio in (("a", 1.05), ("b", 0.97), ("c", 1.08), ("d", 1.1)):
        once = [[1.0], [1.01], [0.99]]
        base += rounds_of(BASE, *once, run_id=run)
        slower = [[ratio * wobble] for wobble in (1.001, 1.012, 0.989)]
        candidate += rounds_of(CANDIDATE, *slower, start=5, run_id=run)
    assert compare(base[:3], candidate[:3]).finding == "SLOWER"
    found = compare(base, candidate)
    assert (found.finding, found.rounds, found.note) == ("UNDECIDED", 12, OF_RUNS)
    assert found.ratio.low < 1
