"""Stored answers: a network must be right, and as fast, on images that it never saw before."""

import random
import time

import pytest
import torch
from support.networks import conv, head, module, timed
from support.records import measurement
from torch import nn

from bench.analysis.reasons import Observation
from bench.analysis.unseen import slowdown
from bench.analysis.verdict import Machine, judge
from bench.backends import BACKENDS
from bench.harness.protocol.messages import Finished, Raised
from bench.harness.worker.calls import compared_rows
from bench.harness.worker.unseen import LATER_CALLS, OF_BATCH, varied
from bench.records import Case


def layers():
    torch.manual_seed(0)
    return nn.Sequential(conv(), nn.ReLU(), head())


def storing(calls, stored):
    """A network that computes `calls` answers, and then returns the last one for any image."""

    def forward(self, x):
        if len(stored) < calls:
            stored.append(self.layers(x))
        return stored[-1]

    return module(forward, layers=layers())


def storing_by_content(stored, seconds=0.003):
    def forward(self, x):
        key = float(x.double().sum())
        if key not in stored:
            time.sleep(seconds)
            stored[key] = self.layers(x)
        return stored[key]

    return module(forward, layers=layers())


def counting(step):
    """A network that counts its own calls; a copy starts anew."""

    def forward(self, x):
        self.calls += 1
        return step(self, self.layers(x))

    return module(forward, layers=layers(), calls=torch.zeros(()))


@pytest.mark.parametrize("changes", [{}, {"batch": 3}, {"backend": "channels_last"}])
def test_an_answer_that_all_copies_of_a_network_store_is_wrong_for_other_images(changes):
    failed = timed(lambda: storing(8, []), **changes)
    assert isinstance(failed, Raised)
    assert (failed.stage, failed.error) == ("check", "StoredAnswerError")
    assert "compute each answer from its input" in failed.message


def test_an_answer_that_a_network_stores_after_some_calls_is_wrong_for_other_images():
    def step(self, answer):
        if self.calls <= 5:
            self.kept = answer
        return self.kept

    failed = timed(lambda: counting(step))
    assert (failed.stage, failed.error) == ("check", "StoredAnswerError")


def test_answers_that_a_network_stores_for_all_images_but_the_first_ones_are_wrong():
    """The backends call it with a whole batch, the copies that are compared with two images."""

    def step(self, answer):
        if self.calls <= 5:
            self.kept = answer
        return torch.cat([answer[:2], self.kept[2:]])

    failed = timed(lambda: counting(step), batch=8)
    assert (failed.stage, failed.error) == ("check", "StoredAnswerError")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_answers_that_are_not_finite_for_other_images_are_refused(precision):
    def step(self, answer):
        self.usual = answer if self.calls == 1 else self.usual
        return answer if torch.equal(answer, self.usual) else answer * float("nan")

    failed = timed(lambda: counting(step), precision=precision)
    assert (failed.stage, failed.error) == ("check", "StoredAnswerError")
    assert "not finite" in failed.message


@pytest.mark.parametrize("factor", [0.0, float("nan")])
def test_a_network_that_decays_while_it_is_timed_is_refused(factor):
    """The warm-up ends before the first block."""
    net = counting(lambda self, answer: answer * factor if self.calls > 1e6 else answer)
    failed = timed(lambda: net, after_block=lambda: net.calls.fill_(2e6))
    assert (failed.stage, failed.error) == ("check", "NotRepeatableError")


@pytest.mark.parametrize(("rows", "value"), [(slice(2, None), 0.0), (slice(5, 6), float("nan"))])
def test_images_of_a_large_batch_that_decay_while_they_are_timed_are_refused(rows, value):
    def step(self, answer):
        answer[rows] = torch.where(self.calls > 1e6, value, answer[rows])
        return answer

    net = counting(step)
    failed = timed(lambda: net, after_block=lambda: net.calls.fill_(2e6), batch=64)
    assert 5 not in compared_rows(64)
    assert (failed.stage, failed.error) == ("check", "NotRepeatableError")


def with_anchors(stored):
    """A network with two outputs. The shape of the second depends on the number of images."""

    def forward(self, x):
        answer = self.layers(x)
        stored.setdefault(len(x), answer)
        return stored[len(x)] if stored.get("is on") else answer, answer.new_ones(3 * len(x), 4)

    return module(forward, layers=layers())


def test_an_output_whose_shape_depends_on_the_number_of_images_is_named_and_the_other_is_checked():
    done = timed(lambda: with_anchors({}), batch=4)
    assert isinstance(done, Finished), done
    assert done.facts.notes == [OF_BATCH]
    stored = {}
    failed = timed(
        lambda: with_anchors(stored), batch=4, after_block=lambda: stored.update({"is on": True})
    )
    assert (failed.stage, failed.error) == ("check", "StoredAnswerError")


@pytest.mark.parametrize("changes", [{}, {"batch": 3}, {"backend": "channels_last"}])
def test_a_network_that_stores_answers_by_the_content_of_the_image_is_suspect(changes):
    done = timed(lambda: storing_by_content({}), **changes)
    assert isinstance(done, Finished)
    assert slowdown(done.unseen_s, done.repeated_s, 1e-4) > 1.5
    record = measurement(
        Case("resnet50", "plain"),
        samples_s=[1e-4] * 3,
        unseen_s=done.unseen_s,
        repeated_s=done.repeated_s,
    )
    reasons = [each for each in judge(record, Machine()).reasons if each.level == "SUSPECT"]
    assert Observation.UNSEEN_SLOWER in [each.observation for each in reasons]


def test_a_network_that_never_saw_a_slow_call_is_not_accused():
    assert slowdown([], [], 1e-3) is None
    assert slowdown([2e-3, 1.4e-3], [1e-3], 1e-3) is None
    assert slowdown([1.6e-3, 9e-3], [1e-3], 1e-3) == pytest.approx(1.6)
    assert slowdown([1.6e-3], [2e-3], 1e-3) is None  # the machine was slow
    assert slowdown([1.9e-5], [1e-6], 1e-6) is None  # the first call after a copy


def honest(seed):
    """A small network with layers, activations and a head drawn by `seed`."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    channels, parts = 3, []
    for _ in range(draw.randint(1, 4)):
        wide = draw.choice([4, 8, 16])
        kernel = draw.choice([1, 3, 5])
        norm = draw.choice([nn.Identity(), nn.BatchNorm2d(wide), nn.GroupNorm(2, wide)])
        parts += [
            nn.Conv2d(channels, wide, kernel, padding=kernel // 2, stride=draw.choice([1, 2])),
            norm,
            draw.choice([nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid])(),
        ]
        channels = wide
    tail = draw.choice(
        [
            head(channels),
            nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 7)),
            nn.Upsample(scale_factor=2),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1)),
        ]
    )
    return nn.Sequential(*parts, tail)


def is_slower(done):
    return slowdown(done.unseen_s, done.repeated_s, 0.0) is not None


@pytest.mark.parametrize("seed", range(50))
def test_an_honest_network_passes(seed):
    draw = random.Random(seed)
    changes = {
        "batch": draw.choice([1, 2, 3]),
        "backend": draw.choice(["eager", "channels_last"]),
    }
    done = timed(lambda: honest(seed), **changes)
    assert isinstance(done, Finished), done
    assert len(done.unseen_s) == len(done.repeated_s) == 5
    assert done.facts.notes == []
    assert not is_slower(done) or not all(
        is_slower(timed(lambda: honest(seed), **changes)) for _ in range(3)
    )  # another program may slow calls down once


def test_a_later_round_makes_fewer_calls_and_still_finds_stored_answers():
    first = timed(lambda: storing(10**6, []))
    later = timed(lambda: storing(10**6, []), facts=first.facts)
    assert len(later.unseen_s) == len(later.repeated_s) == LATER_CALLS < len(first.unseen_s)
    failed = timed(lambda: storing(8, []), facts=first.facts)
    assert (failed.stage, failed.error) == ("check", "StoredAnswerError")


@pytest.mark.parametrize("batch", [1, 3])
def test_an_honest_network_in_reduced_precision_passes(batch):
    done = timed(layers, batch=batch, precision="bf16", backend="channels_last")
    assert isinstance(done, Finished), done
    assert slowdown(done.unseen_s, done.repeated_s, 0.0) is None


def test_a_backend_that_takes_no_other_images_says_so(monkeypatch):
    monkeypatch.setattr(BACKENDS["eager"], "takes_new_images", False)
    done = timed(lambda: storing_by_content({}))
    assert done.unseen_s == []
    (note,) = done.facts.notes
    assert "the backend eager does not take other images" in note


def test_other_images_have_the_range_of_the_first_ones_and_integers_stay():
    images, indices = torch.rand(2, 3, 4, 4) + 1, torch.arange(4)
    (other, same), (another, _) = varied([images, indices], 1), varied([images, indices], 2)
    assert bool((other <= images).all())
    assert bool((other >= images / 2).all())
    assert not torch.equal(other, another)
    assert torch.equal(same, indices)
