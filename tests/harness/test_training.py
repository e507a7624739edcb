"""A training step is checked before it is timed, and trains for real."""

import math

import msgspec
import pytest
import torch
from support.networks import Residual, conv, head, job, measured, module, prepared, timed
from torch import nn
from torch.nn import functional

from bench.backends.eager import Eager
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.harness.plan import ProfilePlan
from bench.harness.protocol.messages import Finished, Raised
from bench.harness.worker import profile, training
from bench.harness.worker.check import CheckError
from bench.harness.worker.unseen import StoredAnswerError
from bench.records import Case

TRAIN = {"workload": "train", "batch": 4}


def now():
    return 0.0


def step_of(make, **changes):
    """The training step of a network, after its first call."""
    subject, facts = prepared(make, **TRAIN, **changes)
    return subject, facts


def by_hand(net, inputs, targets):
    """The gradients of a plain training step."""
    functional.cross_entropy(net(*inputs), targets).backward()
    return [each.grad for each in net.parameters()]


def test_a_step_computes_the_gradients_of_a_plain_step_and_moves_the_weights():
    net, images, targets = Residual().train(), torch.randn(4, 3, 16, 16), torch.tensor([0, 3, 9, 3])
    step = training.Step(net, net, [images], targets)
    found = step.gradients()
    expected = by_hand(net, [images], targets)
    assert training.gradient_error(found, [each.double() for each in expected]) < 1e-6
    net.zero_grad()
    before = [each.detach().clone() for each in net.parameters()]
    loss = step()
    assert loss.requires_grad is False
    assert math.isfinite(loss)
    for old, each in zip(before, net.parameters(), strict=True):
        assert not torch.equal(old, each)
        assert each.grad is None


def test_many_steps_at_a_higher_rate_learn_the_batch(monkeypatch):
    monkeypatch.setattr(training, "RATE", 0.01)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10)).train()
    step = training.Step(net, net, [torch.randn(4, 3, 16, 16)], torch.tensor([0, 3, 9, 3]))
    first = float(step())
    for _ in range(60):
        last = float(step())
    assert last < 0.2 * first


def test_the_network_trains_with_the_statistics_of_the_batch():
    seen = []

    def forward(self, x):
        seen.append((self.training, torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        return self.head(self.stem(x))

    subject, _ = step_of(lambda: module(forward, stem=conv(), head=head()))
    seen.clear()
    with torch.inference_mode():
        subject.call()
    assert seen == [(True, False, True)]


@pytest.mark.parametrize("backend", ["channels_last", "compile"])
def test_the_first_round_compares_the_gradients_with_those_of_eager_mode(backend):
    _, facts = step_of(Residual, backend=backend)
    assert facts.check.against == "gradients, eager"
    assert 0 <= facts.check.largest_relative_error <= facts.check.tolerance
    later = prepared(Residual, facts, **TRAIN, backend=backend)[1]
    assert later.check == facts.check


def test_eager_mode_has_nothing_to_compare_with():
    assert step_of(Residual)[1].check.against is None


def _without_a_gradient(net, x):
    return net.head(net.act(net.stem(x).detach() + net.branch(net.stem(x))))


def _in_eval_mode(net, x):
    return net.eval()(x)


def _scaled(net, x):
    return 1.05 * net(x)


@pytest.mark.parametrize("wrong", [_without_a_gradient, _in_eval_mode, _scaled])
def test_a_backend_whose_gradients_are_wrong_is_refused(monkeypatch, wrong):
    monkeypatch.setattr(Eager, "network", lambda self, model, example: lambda x: wrong(model, x))
    monkeypatch.setattr(training, "differences_of_setting", lambda case: ["eager"])
    with pytest.raises(CheckError, match="a gradient differs from that of eager mode by"):
        step_of(Residual)


def test_a_step_that_changes_no_weight_is_refused(monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)
    with pytest.raises(CheckError, match="the step has changed no parameter"):
        step_of(Residual)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Flatten(), "no parameter of the network has a gradient"),
        (lambda: nn.Conv2d(3, 4, 3), r"needs logits of shape \(images, classes\)"),
        (lambda: Residual().requires_grad_(requires_grad=False), "no parameter of the network"),
    ],
)
def test_a_network_that_cannot_be_trained_says_why(make, said):
    with pytest.raises(CheckError, match=said):
        step_of(make)


def test_a_loss_that_is_not_finite_is_refused():
    def forward(self, x):
        return self.head(self.stem(x)) * torch.inf

    with pytest.raises(CheckError, match="the loss of a training step is nan"):
        step_of(lambda: module(forward, stem=conv(), head=head()))


def test_images_that_were_never_seen_have_the_loss_of_a_copy():
    subject, _ = step_of(Residual)
    found = subject.unseen(now, 0.01)
    assert len(found.unseen_s) == len(found.repeated_s) == 1


def test_a_step_with_a_stored_answer_is_refused(monkeypatch):
    kept = {}

    def network(self, model, example):
        def run(x):
            return kept.setdefault("x", model(x.clone()).detach()) + 0 * model(x)

        return run

    monkeypatch.setattr(Eager, "network", network)
    subject, _ = step_of(Residual)
    with pytest.raises(StoredAnswerError, match="the loss is"):
        subject.unseen(now, 0.01)


class Noisy(Residual):
    """Draws random numbers in training mode alone."""

    def forward(self, x):
        return super().forward(functional.dropout(x, 0.5, self.training))


def test_a_network_that_draws_random_numbers_is_timed_with_a_note():
    subject, facts = step_of(Noisy, backend="channels_last")
    random = "the network draws random numbers while it is trained"
    assert facts.notes == [f"The gradients were not compared with those of eager mode: {random}."]
    assert facts.check.against is None
    (note,) = subject.unseen(now, 0.01).notes
    assert random in note


def test_frozen_weights_are_told():
    def make():
        net = Residual()
        net.branch.requires_grad_(requires_grad=False)
        return net

    (note,) = step_of(make)[1].notes
    assert note.startswith("2 of 8 tensors of weights are frozen")


def test_a_round_of_training_steps_is_a_measurement():
    record = measured(Residual, **TRAIN)
    assert record.case.workload == "train"
    assert record.samples_s
    assert record.changed == {}
    assert not any("mode" in warning for warning in record.warnings)
    assert record.cost.macs
    assert record.cost.params == sum(each.numel() for each in Residual().parameters())


def test_the_memory_of_a_round_that_compares_gradients_is_not_known():
    alone = timed(Residual, **TRAIN)
    compared = timed(Residual, **TRAIN, backend="channels_last")
    assert alone.facts.cost.peak_memory_bytes is not None
    assert compared.facts.cost.peak_memory_bytes is None


def test_a_network_that_fails_in_training_mode_alone_names_the_stage():
    def forward(self, x):
        if self.training:
            raise ValueError("not here")
        return self.head(self.stem(x))

    answer = timed(lambda: module(forward, stem=conv(), head=head()), **TRAIN)
    assert isinstance(answer, Raised)
    assert (answer.stage, answer.message) == ("load", "not here")


def test_steps_are_timed_in_blocks_like_inferences():
    assert isinstance(timed(Residual, **TRAIN), Finished)


def test_a_profile_books_the_backward_pass_to_the_modules_and_names_loss_and_optimiser():
    subject, _ = step_of(Residual)
    asked = msgspec.structs.replace(job(**TRAIN), profile=ProfilePlan(seconds=0.02, block_s=0.005))
    with torch.inference_mode():
        found = profile.profile(asked, CpuSession(Host()), subject)
    of = {}
    for row in found.rows:
        of.setdefault(row.module, set()).add(row.operator)
    assert {"(loss)", "(optimiser)", "stem.0", "branch", "head.2"} <= set(of)
    assert "ConvolutionBackward0" in of["stem.0"]
    assert {"conv2d", "ConvolutionBackward0"} <= of["branch"]
    assert "AddmmBackward0" in of["head.2"]
    assert "NativeBatchNormBackward0" in of["stem.1"]
    backward = next(
        row
        for row in found.rows
        if (row.module, row.operator) == ("branch", "ConvolutionBackward0")
    )
    assert backward.category == "depthwise or group conv"


def test_the_error_of_a_gradient_is_a_share_of_its_own_norm_or_of_the_largest():
    large, small = torch.tensor([3.0, 4.0]), torch.tensor([1e-6])
    expected = [large, small]
    assert training.gradient_error([large * 1.02, small], expected) == pytest.approx(0.02, rel=1e-3)
    assert training.gradient_error([large, -small], expected) == pytest.approx(2e-6 / 0.05)
    assert training.gradient_error([large, small * torch.nan], expected) == math.inf
    zeros = [torch.zeros(2), torch.zeros(1)]
    assert training.gradient_error(zeros, zeros) == 0.0


@pytest.mark.parametrize("form", ["train", "rrep", "srep"])
def test_each_form_of_a_network_of_ours_trains(form):
    from bench.harness.plan import PRESETS
    from bench.harness.protocol.messages import Job
    from bench.harness.worker import prepare
    from bench.harness.worker.timing import StageClock

    case = Case("shortcut_act_t", form, resolution=32, batch=2, workload="train")
    cpu = CpuSession(Host())
    with torch.inference_mode():
        clock = StageClock(cpu.now, lambda stage: None)
        subject = prepare.prepare(Job(case, 1, PRESETS["quick"], None), cpu, clock)
        facts = subject.inspect(subject.call())
    assert facts.check.against == (None if form == "train" else "train")
