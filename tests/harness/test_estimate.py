import msgspec
import pytest
from support.records import CASE, failure, measurement

from bench.harness.plan import PRESETS
from bench.harness.scheduler.estimate import (
    CaseProgress,
    guess_iteration_s,
    initial_progress,
    kinds_of_block,
    planned_rounds,
    remaining_s,
    round_s,
    work_s,
)
from bench.records import Case
from bench.storage.history import History

QUICK = PRESETS["quick"]


def test_work_of_a_fast_case_is_samples_warm_up_and_discarded_calls():
    # First call, 0.3 s of warm-up, 1 s of samples in blocks of 12, one discarded call a block.
    assert work_s(QUICK, 1, 0.02) == pytest.approx(0.02 + 0.3 + 1.0 + (50 / 12) * 0.02)


def test_work_of_a_slow_case_is_the_first_call_one_sample_and_an_unseen_image():
    assert work_s(QUICK, 128, 10.0) == pytest.approx(30.0)
    assert work_s(QUICK, 1, 10.0) > 80.0


def test_the_budget_limits_the_rounds_but_leaves_at_least_three():
    slow, big = CaseProgress(10.0), Case("resnet50", "plain", batch=128)
    assert planned_rounds(QUICK, CASE, CaseProgress(0.02), 2.0) == QUICK.rounds
    assert planned_rounds(QUICK, big, slow, 2.0) == 3
    assert remaining_s(QUICK, {big: slow}, 2.0) == pytest.approx(3 * 32)  # what a dry run says
    single = msgspec.structs.replace(QUICK, rounds=1)
    assert planned_rounds(single, big, slow, 2.0) == 1
    own_budget = msgspec.structs.replace(QUICK, least_rounds=1)  # of --budget
    assert planned_rounds(own_budget, big, slow, 2.0) == 1
    unbounded = msgspec.structs.replace(QUICK, slow_budget_s=None)
    assert planned_rounds(unbounded, big, slow, 2.0) == QUICK.rounds


def test_finished_rounds_and_samples_reduce_the_remaining_time():
    fresh = remaining_s(QUICK, {CASE: CaseProgress(0.02)}, 2.0)
    assert fresh == pytest.approx(3 * (work_s(QUICK, 1, 0.02) + 2.0))
    begun = remaining_s(QUICK, {CASE: CaseProgress(0.02, rounds_done=1, samples=25)}, 2.0)
    assert fresh / 3 < begun < fresh * 2 / 3
    assert remaining_s(QUICK, {CASE: CaseProgress(0.02, rounds_done=3)}, 2.0) == 0.0


def test_a_round_on_the_fake_device_takes_its_pauses_not_its_scripted_time():
    case = Case("resnet50", "plain", device="fake")
    plan = msgspec.structs.replace(QUICK, pace_s=0.05, rounds=5, slow_budget_s=None)
    assert remaining_s(plan, {case: CaseProgress(0.25)}) == pytest.approx(5 * (5 * 0.05 + 0.1))


def test_initial_progress_uses_records_and_omits_finished_cases():
    done, begun, new = Case("swin_t", "plain"), CASE, Case("convnext_t", "plain")
    histories = {
        done: History([measurement(done, n) for n in (1, 2, 3)], None),
        begun: History([measurement(begun)], None),
        Case("deit_s", "plain"): History([], failure(begun)),
        new: History([], None),
    }
    progress = initial_progress(QUICK, histories, {"convnext_t": 4.5e9})
    assert set(progress) == {begun, new}
    assert progress[begun] == CaseProgress(0.010, 1)
    assert progress[new].iteration_s == guess_iteration_s(new, 4.5e9)


def test_the_guess_grows_with_macs_and_batch():
    big = Case("resnet50", "plain", batch=128)
    assert guess_iteration_s(big, 4e9) > 100 * guess_iteration_s(CASE, 4e9)
    assert guess_iteration_s(CASE, None) > guess_iteration_s(CASE, 1e9)


def test_a_gpu_times_two_kinds_of_blocks_and_three_for_batches_and_is_observed_once():
    alone, batch = (Case("resnet50", "plain", batch=n, device="cuda") for n in (1, 128))
    assert (kinds_of_block(alone), kinds_of_block(batch)) == (2, 3)
    assert kinds_of_block(Case("resnet50", "plain", batch=128)) == 1
    once = work_s(QUICK, 1, 0.01)
    assert work_s(QUICK, 1, 0.01, 2) == pytest.approx(once + QUICK.timed_s)
    fresh, begun = (
        remaining_s(QUICK, {alone: CaseProgress(0.01, rounds_done=n)}, setup_s=1.0) for n in (0, 1)
    )
    each = round_s(QUICK, alone, 0.01, 1.0)
    assert fresh - begun == pytest.approx(each + QUICK.observe_s)


def test_the_guess_for_a_gpu_at_batch_1_is_bound_by_launches():
    alone, batch = (
        guess_iteration_s(Case("resnet50", "plain", batch=n, device="cuda"), 4e9) for n in (1, 128)
    )
    assert 0.004 < alone < 0.006
    assert 10 * alone < batch < 1


@pytest.mark.parametrize(("backend", "first_s"), [("eager", 0), ("onnxruntime", 15)])
def test_the_first_round_counts_compilation_and_export(backend, first_s):
    case = msgspec.structs.replace(CASE, backend=backend)
    fresh, begun = (
        remaining_s(QUICK, {case: CaseProgress(0.02, rounds_done=n)}, setup_s=1.0) for n in (0, 1)
    )
    assert fresh - begun == pytest.approx(first_s + round_s(QUICK, case, 0.02, 1.0))


def test_a_training_step_is_guessed_at_three_inferences_and_has_more_to_check():
    alone = msgspec.structs.replace(CASE, batch=32)
    train = msgspec.structs.replace(alone, workload="train")
    assert guess_iteration_s(train, 4e9) == pytest.approx(3 * guess_iteration_s(alone, 4e9))
    more_s = round_s(QUICK, train, 5.0, 1.0) - round_s(QUICK, alone, 5.0, 1.0)
    assert more_s == pytest.approx(10.0)
