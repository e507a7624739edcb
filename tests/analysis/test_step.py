"""The modules of a training step's events, from a trace."""

import pytest
from support.traces import encoded, event, mark

from bench.analysis.profile import step
from bench.analysis.profile.trace import TraceError, read
from bench.records import Operator

FORWARD = [
    Operator("conv2d", "stem", "other conv", 10, 4),
    Operator("linear", "head", "fully connected", 20, 4),
]
ENGINE = "autograd::engine::evaluate_function: "


def numbered(name, start, number, length=8, **args):
    return event(name, start, length, **{"Sequence number": number}, **args)


def trace(*more, backward_tid=1):
    return encoded(
        mark(0, 200),
        numbered("aten::conv2d", 1, 5),
        numbered("aten::convolution", 2, 5, 4),
        numbered("aten::empty", 3, 6, 1),  # begins with the number of the next node
        numbered("aten::linear", 11, 6),
        numbered("aten::t", 12, 6, 2),
        numbered("aten::addmm", 15, 7, 2),
        numbered("aten::cross_entropy_loss", 21, 8),
        numbered(f"{ENGINE}NllLossBackward0", 41, 8, tid=backward_tid),
        numbered(f"{ENGINE}AddmmBackward0", 51, 7, tid=backward_tid),
        numbered(f"{ENGINE}TBackward0", 61, 6, tid=backward_tid),
        event(f"{ENGINE}torch::autograd::AccumulateGrad", 71, 8, tid=backward_tid),
        event("aten::add_", 81, 8, tid=backward_tid),
        numbered(f"{ENGINE}ConvolutionBackward0", 91, 5, tid=backward_tid),
        event("aten::lerp_", 111, 8),
        *more,
    )


def owners(content):
    (found,) = read(content)
    return [(each.name, each.module, each.category) for each in step.operators_of(found, FORWARD)]


@pytest.mark.parametrize("thread", [1, 2])  # the host's own thread, and that of a GPU's engine
def test_an_event_of_the_backward_pass_belongs_to_the_operator_of_its_node(thread):
    assert owners(trace(backward_tid=thread)) == [
        ("conv2d", "stem", "other conv"),
        ("linear", "head", "fully connected"),
        ("cross_entropy_loss", "(loss)", "other"),
        ("NllLossBackward0", "(loss)", "other"),
        ("AddmmBackward0", "head", "fully connected"),
        ("TBackward0", "head", "fully connected"),
        ("torch::autograd::AccumulateGrad", "(gradients)", "other"),
        ("add_", "(gradients)", "other"),
        ("ConvolutionBackward0", "stem", "other conv"),
        ("lerp_", "(optimiser)", "other"),
    ]


def test_names_are_those_of_the_trace_so_that_iterations_are_compared():
    (found,) = read(trace())
    names = [f"{each.namespace}::{each.name}" for each in step.operators_of(found, FORWARD)]
    assert names == [each.name for each in found.operators]


def test_a_trace_without_a_backward_pass_is_refused():
    (found,) = read(encoded(mark(0, 50), event("aten::conv2d", 1, 8)))
    with pytest.raises(TraceError, match="no backward pass"):
        step.operators_of(found, FORWARD)
