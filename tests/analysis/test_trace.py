import sys

import pytest
from support.traces import encoded, event, kernel, launch, mark

from bench.analysis.profile.trace import Event, TraceError, read, union_s


def test_outermost_events_are_operators_and_inner_events_are_nested():
    (found,) = read(
        encoded(
            mark(0, 100),
            event("aten::conv2d", 5, 40),
            event("aten::convolution", 6, 38),
            event("aten::mkldnn_convolution", 8, 30),
            event("aten::gelu", 50, 20),
        )
    )
    assert [operator.name for operator in found.operators] == ["aten::conv2d", "aten::gelu"]
    assert [len(inner) for inner in found.nested] == [3, 1]
    assert sum(operator.seconds for operator in found.operators) == pytest.approx(60e-6)
    assert found.events == 5
    assert found.mark.seconds == pytest.approx(100e-6)


def test_events_between_iterations_belong_to_none():
    first, second = read(
        encoded(
            mark(200, 50),
            mark(0, 50),
            event("aten::relu", 10, 5),
            event("aten::empty", 100, 5),
            event("aten::gelu", 210, 5),
        )
    )
    assert [operator.name for operator in first.operators] == ["aten::relu"]
    assert [operator.name for operator in second.operators] == ["aten::gelu"]


def test_operators_of_other_threads_are_ignored():
    (found,) = read(
        encoded(mark(0, 50), event("aten::relu", 10, 5), event("aten::add", 20, 5, tid=2))
    )
    assert [operator.name for operator in found.operators] == ["aten::relu"]


def test_kernels_belong_to_the_iteration_in_which_they_start():
    first, second = read(
        encoded(mark(0, 50), mark(60, 50), kernel("a", 10, 30, grid=[4, 1, 1]), kernel("b", 70, 5))
    )
    assert [each.name for each in first.kernels] == ["a"]
    assert first.kernels[0].args.grid == [4, 1, 1]
    assert [each.name for each in second.kernels] == ["b"]


def test_wrappers_of_torch_compile_count_as_events_not_operators():
    (found,) = read(
        encoded(
            mark(0, 90),
            event("Torch-Compiled Region: 0/0", 1, 80),
            event("## Call CompiledFxGraph fxyz ##", 2, 70),
            event("graph_0_cpp_fused_gelu_1", 5, 10),
        )
    )
    assert [operator.name for operator in found.operators] == ["graph_0_cpp_fused_gelu_1"]
    assert found.events == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b'{"traceEvents": [{"ph"', "cannot be read"),
        (encoded(), "no iterations"),
        (encoded(event("aten::relu", 0, 5)), "no iterations"),
    ],
)
def test_an_empty_or_truncated_trace_is_refused(content, said):
    with pytest.raises(TraceError, match=said):
        read(content)


def test_overlapping_kernels_count_once():
    def span(start, end):
        return Event("k", start, end, "7", None)

    assert union_s([]) == 0
    assert union_s([span(0, 2), span(1, 3), span(5, 6), span(5.2, 5.5)]) == pytest.approx(4.0)


def test_the_work_per_iteration_does_not_grow_with_the_number_of_iterations():
    """Instructions are counted: a scan of all events for each mark may call no function."""

    def instructions(iterations):
        content = encoded(
            *(mark(100 * number, 50) for number in range(iterations)),
            *(event("aten::relu", 100 * number + 10, 5) for number in range(iterations)),
            *(launch(100 * number + 12, number) for number in range(iterations)),
            *(kernel("k", 100 * number + 20, 5) for number in range(iterations)),
        )
        counted = 0

        def count(frame, kind, argument):
            nonlocal counted
            frame.f_trace_opcodes = True
            counted += kind == "opcode"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            assert len(read(content)) == iterations
        finally:
            sys.settrace(before)
        return counted

    assert instructions(512) < 16 * 1.5 * instructions(32)
