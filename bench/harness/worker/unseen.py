"""Calls on images that a network never saw, after its timed blocks: are they right, and as fast?

A network may return stored answers: by the content of the image, or after a number of calls. Timed
blocks call it with the same images each time, so they cannot tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.analysis.unseen import slowdown
from bench.devices import precision
from bench.harness.worker import calls
from bench.harness.worker.calls import CHECKED_IMAGES, compared_rows
from bench.harness.worker.errors import kind_of
from bench.harness.worker.outputs import picked, tensors_of
from bench.harness.worker.timing import Clock, Unseen, timed_call
from bench.models.copies import with_own_state
from bench.models.dtypes import cast_tensor
from bench.records import OUT_OF_MEMORY, Case
from bench.text import brief

CALLS = 5  # in the first round of a case
LATER_CALLS = 2  # in later rounds, since each costs a call of the copy, too
ATTEMPTS = 3  # a network is slow on unseen images only if it is in each of them
LONGEST_S = 1.0  # of all calls of an attempt, unless a single one takes longer
LEAST_FACTOR = 0.5  # an unseen image is another one, times uniform(0.5, 1)
SAFETY = 4.0  # the tolerated error / the tolerance of the check before timing
STORED = 0.9  # tolerated at most; the answer for the timed images has an error of 1
NO_FLOATS = "its inputs are integers"
UNCHECKED = "Answers to images that the network never saw were not checked: {}."
OF_BATCH = (
    "Outputs whose shape depends on the number of images were not checked for images that the "
    "network never saw."
)
WRONG = (
    "the network answers wrongly to images that it did not see before: {}; let `forward` compute "
    "each answer from its input, without stored answers and without counting its calls"
)


class StoredAnswerError(Exception):
    """The network gives a wrong answer to images that it never saw before it was timed."""


class Example(NamedTuple):
    """Images that the network never saw, and the answer of a copy; None if it is not known."""

    images: list[Tensor]
    answer: list[Tensor] | None


class _Calls(NamedTuple):
    """A loaded network, the tensors that it reads, its answer to the timed images, and a clock."""

    run: Callable[[], object]
    inputs: Sequence[Tensor]
    first_answer: Sequence[Tensor]
    now: Clock

    def set(self, images: Sequence[Tensor]) -> None:
        """Copy images into the tensors that the network reads."""
        for each, image in zip(self.inputs, images, strict=True):
            each.copy_(image)

    def timed(self, images: Sequence[Tensor], samples_s: list[float]) -> object:
        """Return the output for `images`; append the seconds of the call, without the copy."""
        self.set(images)
        kept: list[object] = []
        samples_s.append(timed_call(lambda: kept.append(self.run()), self.now))
        return kept[0]


def in_memory(attempts: Callable[[], Unseen]) -> Unseen:
    """Return what `attempts` returns, or a note where the memory did not suffice for it."""
    try:
        return attempts()
    except StoredAnswerError:
        raise
    except Exception as error:
        if kind_of(error) != OUT_OF_MEMORY:
            raise
        return Unseen([], [], [UNCHECKED.format(brief(error))])


def varied(images: Sequence[Tensor], number: int) -> list[Tensor]:
    """Return other images, of the same range: each value times uniform(LEAST_FACTOR, 1).

    Integers keep their values: they may be indices. `number` is the seed.
    """
    source = torch.Generator().manual_seed(number)
    found = [each.clone() for each in images]
    for each in found:
        if each.is_floating_point() or each.is_complex():
            factor = torch.empty(each.shape).uniform_(LEAST_FACTOR, 1, generator=source)
            each.mul_(factor.to(each.device, each.dtype))
    return found


class UnseenImages:
    """Calls a network on images that it never saw. Made before its first call.

    The answer to the first of these images is computed at once, in fp32 on the CPU, by a copy of
    `net`. No later state of the process can change it. Answers to the others come after the timed
    blocks from a copy of the loaded network, see `keep`.
    """

    def __init__(
        self,
        case: Case,
        net: nn.Module,
        seen: Sequence[Tensor],
        tolerance: float,
        most_calls: int = CALLS,
    ) -> None:
        self._case = case
        self._most = most_calls
        self._allowed = min(SAFETY * tolerance, STORED)
        self._rows = compared_rows(case.batch)[:CHECKED_IMAGES]
        others = [each[:CHECKED_IMAGES].flip(0)[: len(self._rows)].clone() for each in seen]
        self._others = others  # at batch 1 the second image, which no call of this process gets
        self._copy = net
        self.reason = ""
        self._known = Example(varied(others, 1), None)
        if not any(each.is_floating_point() or each.is_complex() for each in seen):
            self.reason = NO_FLOATS
            return
        try:
            answered = calls.answer(net, self._known.images)
        except Exception as error:  # a network may raise anything
            self.reason = brief(error)
            return
        self._known = Example(self._known.images, calls.wide(answered))

    def keep(self, loaded: nn.Module) -> None:
        """Copy the network as it was loaded. The copy has its weights, and a state of its own."""
        self._copy = with_own_state(loaded)

    def call(
        self,
        run: Callable[[], object],
        inputs: Sequence[Tensor],
        first_answer: Sequence[Tensor],
        now: Clock,
        typical_s: float,
    ) -> Unseen:
        """Time calls on unseen images, which are copied into `inputs`, and on known ones in turns.

        Raises StoredAnswerError for a wrong answer. `first_answer` is that to the timed images
        whose places the checked ones take (see `compared_rows`), `typical_s` the median seconds of
        a timed call. Where calls on unseen images are slower, they are repeated with others, since
        another program may be the cause.
        """
        if self.reason:
            return Unseen([], [], [UNCHECKED.format(self.reason)])
        subject = _Calls(run, inputs, first_answer, now)
        return in_memory(lambda: self._attempts(subject, typical_s))

    def _attempts(self, subject: _Calls, typical_s: float) -> Unseen:
        kept = [each.clone() for each in subject.inputs]
        count = max(1, min(self._most, int(LONGEST_S / 2 / max(typical_s, 1e-9))))
        numbers = itertools.count(1)
        all_checked = True
        if self._case.batch == len(self._rows):  # a copy had all of these images: not unseen
            example = self._example(kept, next(numbers))
            output = subject.timed(example.images, [])
            all_checked &= self._check(output, example, subject.first_answer)
        found = Unseen([], [])
        for _ in range(ATTEMPTS):
            found = Unseen([], [])
            for number in itertools.islice(numbers, count):
                example = self._example(kept, number)
                if typical_s < LONGEST_S:
                    [each.clone() for each in example.images]  # as much work before the call
                    found.repeated_s.append(timed_call(subject.run, subject.now))
                output = subject.timed(example.images, found.unseen_s)
                all_checked &= self._check(output, example, subject.first_answer)
                del output
            if slowdown(found.unseen_s, found.repeated_s, typical_s) is None:
                break
        subject.set(kept)
        return found._replace(notes=[] if all_checked else [OF_BATCH])

    def _example(self, kept: Sequence[Tensor], number: int) -> Example:
        """Return the images of call `number`, for the whole batch."""
        if number > 1:
            of_one = [
                cast_tensor(each, ours.dtype, ours.device)
                for each, ours in zip(self._others, kept, strict=True)
            ]
            base = of_one if self._case.batch == 1 else [each.roll(1, 0) for each in kept]
            return Example(varied(base, number), None)
        images = varied(kept, number)
        for each, known in zip(images, self._known.images, strict=True):
            for row, image in zip(self._rows, known, strict=True):
                each[row].copy_(image)
        return Example(images, self._known.answer)

    def _check(self, output: object, example: Example, first_answer: Sequence[Tensor]) -> bool:
        """Raise StoredAnswerError unless the answer is that of a copy of the network.

        Returns whether each output was compared: one whose shape depends on the number of images
        cannot be, since the copy gets fewer.

        An output may differ by the larger one of: the part `allowed` of the largest difference
        between the right answer and that to the timed images; what may differ between two calls.
        """
        floats = [each.is_floating_point() or each.is_complex() for each in tensors_of(output)]
        ours = calls.wide(picked(output, self._case.batch, self._rows))
        right = example.answer
        if right is None:
            images = [each[self._rows] for each in example.images]
            right = calls.wide(calls.answer(self._copy, images))
        if [each.shape for each in ours] != [each.shape for each in first_answer]:
            raise StoredAnswerError(WRONG.format("the output has another shape"))
        if len(right) != len(ours):
            return False
        outputs = list(zip(ours, right, first_answer, floats, strict=True))
        compared = [given.shape == expected.shape for given, expected, _, _ in outputs]
        for each in itertools.compress(outputs, compared):
            self._check_one(*each)
        return all(compared)

    def _check_one(self, given: Tensor, expected: Tensor, before: Tensor, counts: bool) -> None:
        """Raise StoredAnswerError unless one output is right, see `_check`."""
        if not counts or not given.numel() or not expected.isfinite().all():
            return
        if not given.isfinite().all():
            raise StoredAnswerError(WRONG.format("the output is not finite"))
        error = float((given - expected).abs().max())
        change = float((before - expected).abs().max())
        largest = float(expected.abs().max())
        noise = precision.repeatability(self._case.precision) * largest
        if not error <= max(self._allowed * change, noise):
            how = f"it is off by {error:.2g}, of {largest:.2g} in the output"
            raise StoredAnswerError(WRONG.format(how))
