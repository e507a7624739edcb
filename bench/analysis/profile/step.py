"""Which module and category the events of a training step belong to. Pure functions.

The forward pass calls the operators that the network calls in an inference, then come the loss, the
backward pass and the optimiser. While gradients are recorded, the profiler writes for each operator
the number of the next node of the graph, and for each event of the backward pass that of its node.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.profile.trace import BACKWARD, Event, Iteration, TraceError
from bench.records import Operator

LOSS, GRADIENTS, OPTIMISER = "(loss)", "(gradients)", "(optimiser)"  # in place of a module


def operators_of(step: Iteration, forward: Sequence[Operator]) -> list[Operator]:
    """Return an operator for each outermost event of a training step.

    `forward` are the operators of the forward pass, in order. An event of the backward pass has the
    module and the category of the operator whose gradient it computes; the category of the loss and
    of the optimiser is "other". Raises TraceError where the trace has no backward pass.
    """
    is_backward = [event.name.startswith(f"{BACKWARD}::") for event in step.operators]
    if not any(is_backward) or len(step.operators) < len(forward):
        raise TraceError("the trace of the training step has no backward pass")
    first, last = is_backward.index(True), len(is_backward) - is_backward[::-1].index(True)
    found = list(forward)
    found += [_named(event, LOSS) for event in step.operators[len(forward) : first]]
    owners = _owners(step, found)
    for event in step.operators[first:last]:
        owner = owners.get(event.args.sequence) if event.name.startswith(BACKWARD) else None
        found.append(_named(event, GRADIENTS) if owner is None else _gradient(event, owner))
    return found + [_named(event, OPTIMISER) for event in step.operators[last:]]


def _owners(step: Iteration, forward: Sequence[Operator]) -> dict[int | None, Operator]:
    """The operator that made each node of the graph: the last one that began with its number."""
    owners: dict[int | None, Operator] = {}
    for operator, inner in zip(forward, step.nested, strict=False):
        for event in inner:
            owners[event.args.sequence] = operator
    owners.pop(None, None)
    return owners


def _gradient(event: Event, owner: Operator) -> Operator:
    return _named(event, owner.module)._replace(category=owner.category)


def _named(event: Event, module: str) -> Operator:
    """The operator of an event, in a module. Its work is not counted."""
    namespace, _, name = event.name.partition("::")
    return Operator(name, module, "other", None, 0, namespace)
