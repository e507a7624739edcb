"""A training step as the timed call: forward in training mode, loss, backward and AdamW.

The images are those of an inference, the classes are drawn, and the rate is so small that the last
step does the same work as the first one. Before anything is timed, the gradients of a step are
compared with those of eager mode in fp32 on the CPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from msgspec import structs
from torch import Tensor, nn
from torch.nn import functional

from bench.analysis.unseen import slowdown
from bench.backends import BACKENDS
from bench.devices import Session
from bench.devices.process_state import ProcessState
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker.check import CheckError, differences_of_setting
from bench.harness.worker.inputs import SEED, first
from bench.harness.worker.loaded import changed
from bench.harness.worker.outputs import tensors_of
from bench.harness.worker.timing import Clock, Prepared, Unseen, timed_call
from bench.harness.worker.unseen import (
    ATTEMPTS,
    LONGEST_S,
    UNCHECKED,
    WRONG,
    StoredAnswerError,
    in_memory,
    varied,
)
from bench.models import counter
from bench.models.copies import with_own_state
from bench.models.operators import operators
from bench.records import Case, Check, Operator

RATE, DECAY = 1e-6, 0.05
# Of the norm of a parameter's gradient, which counts as SMALLEST times the largest norm at least:
# rounding decides gradients that would be 0, as that of a bias before a BatchNorm.
GRADIENT_TOLERANCE, SMALLEST = 1e-3, 0.01
# An unseen loss may differ by a part of what the images change, and by rounding.
LOSS_ALLOWED, LOSS_ROUNDING = 0.2, 1e-5
AT_RANDOM = "the network draws random numbers while it is trained"
NO_LOGITS = "a training step needs logits of shape (images, classes), and the network returns {}"
NO_GRADIENT = "no parameter of the network has a gradient: nothing can be trained"


class Step:
    """Training steps of `net`, which `run` executes. Called, it makes one and returns the loss."""

    def __init__(
        self,
        run: Callable[..., object],
        net: nn.Module,
        inputs: Sequence[Tensor],
        targets: Tensor,
    ) -> None:
        self.net, self.inputs, self.targets = net, inputs, targets
        self._run = run
        self._optimiser = torch.optim.AdamW(trainable(net), lr=RATE, weight_decay=DECAY)

    def __call__(self) -> Tensor:
        """Make a step. Gradients are computed, whatever mode the process is in."""
        with torch.inference_mode(False):
            loss = loss_of(self._run, self.inputs, self.targets)
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            self._optimiser.step()
            self._optimiser.zero_grad()
        return loss.detach()

    def gradients(self) -> list[Tensor]:
        """Return the gradients of a step that changes no parameter."""
        return gradients(self._run, self.net, self.inputs, self.targets)


class Trained:
    """A network that is trained, step by step, and what is known of it before the first step."""

    def __init__(self, case: Case, facts: CaseFacts, step: Step, state: ProcessState) -> None:
        self._case = case
        self._facts = facts
        self._step = step
        self._state = state
        self._copy = with_own_state(step.net)  # has the weights of the trained network
        self._sums = _sums(step.net)

    def prepared(self) -> Prepared:
        """Return the functions that the child calls."""
        return Prepared(
            self._step,
            self.inspect,
            compare=self.compare,
            changed=lambda: changed(self._step, self._state),
            operators=self.operators,
            unseen=self.unseen,
        )

    def inspect(self, loss: object) -> CaseFacts:
        """Check the first step: its loss is finite, and it has changed the weights."""
        self.compare(loss)
        if _sums(self._step.net) == self._sums:
            raise CheckError("the step has changed no parameter of the network")
        self._state.restore()
        notes = dict.fromkeys([*self._facts.notes, *self._state.notes])
        return structs.replace(self._facts, notes=list(notes))

    def compare(self, loss: object) -> None:
        """Raise CheckError where a loss is not finite; None is that of no step."""
        if isinstance(loss, Tensor) and not math.isfinite(float(loss)):
            raise CheckError(f"the loss of a training step is {float(loss)}")

    def unseen(self, now: Clock, typical_s: float) -> Unseen:
        """Time steps on images that they never had, and on known ones in turns.

        Raises StoredAnswerError where a loss is not that of a copy in eager mode. Where unseen
        images are slower, they are tried again with others: another program may be the cause.
        """
        return in_memory(lambda: self._attempts(now, typical_s))

    def _attempts(self, now: Clock, typical_s: float) -> Unseen:
        found = Unseen([], [])
        for number in range(1, ATTEMPTS + 1):
            found = self._attempt(number, now, typical_s)
            if slowdown(found.unseen_s, found.repeated_s, typical_s) is None:
                break
        return found

    def _attempt(self, number: int, now: Clock, typical_s: float) -> Unseen:
        step, found, losses = self._step, Unseen([], []), list[Tensor]()
        if typical_s < LONGEST_S:
            found.repeated_s.append(timed_call(step, now))
        before = self._expected()
        for ours, image in zip(step.inputs, varied(step.inputs, number), strict=True):
            ours.copy_(image)
        expected = self._expected()
        found.unseen_s.append(timed_call(lambda: losses.append(step()), now))
        given = float(losses[0])
        limit = max(LOSS_ALLOWED * abs(before - expected), LOSS_ROUNDING * abs(expected))
        if abs(given - expected) <= limit:
            return found
        if not abs(self._expected() - expected) <= LOSS_ROUNDING * abs(expected):
            return found._replace(notes=[UNCHECKED.format(AT_RANDOM)])
        raise StoredAnswerError(WRONG.format(f"the loss is {given:.6g}, not {expected:.6g}"))

    def _expected(self) -> float:
        """The loss of the copy for the images of the step, at its weights."""
        with torch.inference_mode(False), torch.no_grad():
            return float(loss_of(self._copy, self._step.inputs, self._step.targets))

    def operators(self) -> list[Operator]:
        """List the operators of the forward pass, where torch executes them one by one."""
        mode = counter.visible_mode() if BACKENDS[self._case.backend].one_by_one else None
        return operators(self._copy, self._step.inputs, mode) if mode else []


def prepared(
    job: Job,
    facts: CaseFacts,
    net: nn.Module,
    seen: Sequence[Tensor],
    session: Session,
    state: ProcessState,
) -> Prepared:
    """Return training steps of `net`, a network in fp32 on the CPU, on the first images of `seen`.

    One step is made before the first one that counts: it makes the memory of the optimiser, and
    compiles what is compiled. The first round compares the gradients with those of eager mode in
    fp32 on the CPU. Raises CheckError where they differ.
    """
    case, backend = job.case, BACKENDS[job.case.backend]
    with torch.inference_mode(False):
        given = [each.clone() for each in first(seen, case.batch)]
        reference = copy.deepcopy(net).train()  # made here, its tensors have gradients
        trained = copy.deepcopy(reference).to(session.torch_device)
        targets = _targets(reference, given)
        inputs = [each.to(session.torch_device, copy=True) for each in given]
        run = backend.network(trained, inputs)
        step = Step(run, trained, inputs, targets.to(session.torch_device, copy=True))
        others = differences_of_setting(case)
        if job.facts is None:
            facts = structs.replace(facts, notes=[*facts.notes, *_frozen(trained)])
        if job.facts is None and others:
            ours = step.gradients()
            expected = [gradients(reference, reference, given, targets)]
            if gradient_error(ours, expected[0]) > GRADIENT_TOLERANCE:
                expected.append(gradients(reference, reference, given, targets))
            facts = _compared(facts, ours, expected, f"gradients, {', '.join(others)}")
        step()
        backend.loaded()
        made = Trained(case, facts, step, state)
    state.restore()
    return made.prepared()


def trainable(net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that have a gradient. Raises CheckError where there is none."""
    found = [each for each in net.parameters() if each.requires_grad]
    if not found:
        raise CheckError(NO_GRADIENT)
    return found


def loss_of(run: Callable[..., object], inputs: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Return the cross-entropy of the network's first output, (N, classes), and classes (N)."""
    return functional.cross_entropy(_logits(run(*inputs)), targets)


def gradients(
    run: Callable[..., object], net: nn.Module, inputs: Sequence[Tensor], targets: Tensor
) -> list[Tensor]:
    """Return the gradient of each trainable parameter; zeros where the loss does not use it."""
    loss_of(run, inputs, targets).backward()  # type: ignore[no-untyped-call, unused-ignore]
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable(net)]
    copies = [each.to("cpu", torch.float64, copy=True) for each in found]
    net.zero_grad()
    return copies


def gradient_error(ours: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest error of a parameter's gradient, as a share of its norm.

    e = max over p of |g_p - r_p| / max(|r_p|, SMALLEST * max over q of |r_q|).
    """
    norms = [float(each.norm()) for each in expected]
    least = SMALLEST * max(norms) or 1.0
    errors = [float((own - each).norm()) for own, each in zip(ours, expected, strict=True)]
    shares = [error / max(norm, least) for error, norm in zip(errors, norms, strict=True)]
    return math.inf if any(map(math.isnan, shares)) else max(shares)


def _compared(
    facts: CaseFacts, ours: Sequence[Tensor], expected: Sequence[Sequence[Tensor]], against: str
) -> CaseFacts:
    """Return the facts with the error of the gradients.

    `expected` are those of one pass, or of two passes where the first one differs: a network that
    draws random numbers differs from itself. Raises CheckError for wrong gradients.
    """
    error = gradient_error(ours, expected[0])
    if error <= GRADIENT_TOLERANCE:
        pairs = zip(ours, expected[0], strict=True)
        largest = max(float((own - each).abs().max()) for own, each in pairs)
        return structs.replace(facts, check=Check(against, largest, error, GRADIENT_TOLERANCE))
    if gradient_error(*expected) > GRADIENT_TOLERANCE:
        note = f"The gradients were not compared with those of eager mode: {AT_RANDOM}."
        return structs.replace(facts, notes=[*facts.notes, note])
    raise CheckError(
        f"a gradient differs from that of eager mode by {error:.2g} of its norm; tolerated is "
        f"{GRADIENT_TOLERANCE}"
    )


def _frozen(net: nn.Module) -> list[str]:
    """A note on parameters that are not trained, if there are any."""
    frozen = sum(not each.requires_grad for each in net.parameters())
    count = len(list(net.parameters()))
    return [f"{frozen} of {count} tensors of weights are frozen: no gradient is computed."] * bool(
        frozen
    )


def _targets(net: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Draw a class for each image."""
    with torch.no_grad():
        logits = _logits(with_own_state(net)(*inputs))
    source = torch.Generator().manual_seed(SEED)
    return torch.randint(logits.shape[1], logits.shape[:1], generator=source)


def _logits(output: object) -> Tensor:
    tensors = tensors_of(output)
    if not tensors:
        raise CheckError(NO_LOGITS.format(f"a {type(output).__name__} without tensors"))
    if tensors[0].dim() != 2 or not tensors[0].is_floating_point():
        raise CheckError(NO_LOGITS.format(f"{tuple(tensors[0].shape)}"))
    return tensors[0]


def _sums(net: nn.Module) -> list[float]:
    """The sum of each trainable parameter, which a step changes."""
    return [float(each.detach().double().sum()) for each in trainable(net)]
