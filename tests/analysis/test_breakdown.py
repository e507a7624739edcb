"""Rows and terms of constructed traces, whose correct values are known to the microsecond."""

import pytest
from support.traces import encoded, event, kernel, launch, mark

from bench.analysis.profile.breakdown import ProfilerCost, Samples, adds_up, break_down
from bench.analysis.profile.kernels import kernel_category
from bench.analysis.profile.trace import TraceError, read
from bench.records import Operator

CONV = Operator("conv2d", "stem", "other conv", 1000, 400)
GELU = Operator("gelu", "act", "activation", None, 80)
ADD = Operator("add", "", "addition", None, 120)
ANATOMY = [CONV, GELU, CONV._replace(module="last"), ADD]


def on_cpu(start=0.0, slow=1.0):
    """100 µs: two convolutions of 30 and 20 µs, a GELU of 10, an addition of 5; 35 between."""
    return [
        mark(start, 100 * slow),
        event("aten::conv2d", start + 10 * slow, 30 * slow),
        event("aten::convolution", start + 11 * slow, 28 * slow),
        event("aten::gelu", start + 45 * slow, 10 * slow),
        event("aten::conv2d", start + 60 * slow, 20 * slow),
        event("aten::add", start + 90 * slow, 5 * slow),
    ]


def samples(plain=(100e-6,), profiled=(100e-6,)):
    return Samples([list(plain)] * 3, [list(profiled)] * 3)


def found(*events, anatomy=ANATOMY, timed=None, event_s=0.0, faults_s=0.0, sm_count=None):
    return break_down(
        read(encoded(*events)),
        anatomy,
        timed or samples(),
        ProfilerCost(event_s, faults_s),
        sm_count,
    )


def times(breakdown):
    return {(row.operator, row.module): row.time_s for row in breakdown.rows}


def test_rows_and_gaps_add_up_to_the_latency():
    broken = found(*on_cpu())
    assert times(broken) == pytest.approx(
        {("conv2d", "stem"): 30e-6, ("gelu", "act"): 10e-6, ("conv2d", "last"): 20e-6}
        | {("add", ""): 5e-6}
    )
    waterfall = broken.waterfall
    assert waterfall.busy_s == pytest.approx(65e-6)
    assert waterfall.gaps_s == pytest.approx(35e-6)
    assert waterfall.residual_s == pytest.approx(0, abs=1e-12)
    assert broken.events == 6


def test_a_row_has_the_category_and_the_cost_of_its_operator():
    row = found(*on_cpu()).rows[0]
    assert (row.category, row.calls, row.macs, row.bytes) == ("other conv", 1, 1000, 400)


def test_iterations_are_averaged():
    broken = found(*on_cpu(), *on_cpu(1000, slow=3.0), timed=samples((200e-6,), (200e-6,)))
    assert times(broken)[("gelu", "act")] == pytest.approx(20e-6)
    assert broken.waterfall.busy_s == pytest.approx(130e-6)


def test_profiler_cost_is_subtracted_and_the_unexplained_rest_is_the_residual():
    timed = samples(plain=(90e-6,), profiled=(100e-6,))  # 10 µs slower, for 6 events
    explained = found(*on_cpu(), timed=timed, event_s=10e-6 / 6)
    assert explained.waterfall.residual_s == pytest.approx(0, abs=1e-12)
    assert explained.waterfall.overhead_s == pytest.approx(10e-6)
    assert explained.waterfall.overhead_expected_s == pytest.approx(10e-6)
    assert times(explained)[("conv2d", "stem")] == pytest.approx(30e-6 - 2 * 10e-6 / 6)
    half = found(*on_cpu(), timed=timed, event_s=5e-6 / 6)
    assert half.waterfall.residual_s == pytest.approx(-5e-6)
    assert not adds_up(half.waterfall)
    total = half.waterfall
    assert total.busy_s + total.gaps_s + total.sync_s + total.residual_s == pytest.approx(90e-6)


def test_page_faults_caused_by_the_profiler_are_subtracted_from_rows():
    timed = samples(plain=(87e-6,), profiled=(100e-6,))
    broken = found(*on_cpu(), timed=timed, faults_s=13e-6)
    assert broken.waterfall.residual_s == pytest.approx(0, abs=1e-12)
    assert broken.waterfall.busy_s == pytest.approx(52e-6)
    assert times(broken)[("conv2d", "stem")] == pytest.approx(30e-6 * 52 / 65)
    assert broken.waterfall.gaps_s == pytest.approx(35e-6)


def test_events_that_cost_more_than_the_operators_leave_no_busy_time():
    broken = found(*on_cpu(), event_s=1.0)
    assert [row.time_s for row in broken.rows] == [0.0] * len(broken.rows)
    assert broken.waterfall.busy_s == 0.0


def test_drift_between_blocks_does_not_change_the_residual():
    """The machine was 1.5 times slower in the second pair of blocks, for both of them."""
    timed = Samples([[100e-6], [150e-6]], [[100e-6], [150e-6]])
    assert timed.slowdown == pytest.approx(1.0)
    broken = found(*on_cpu(), *on_cpu(1000, slow=1.5), timed=timed)
    assert broken.waterfall.residual_s == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda events: events[:-1], "3 operators, the network calls 4"),
        (lambda events: [*events, event("aten::mul", 96, 1)], "5 operators"),
        (
            lambda events: [*events[:-1], event("aten::mul", 90, 5)],
            "operator 3 is aten::mul, the network calls aten::add",
        ),
    ],
)
def test_operators_that_differ_from_the_network_are_refused(change, said):
    with pytest.raises(TraceError, match=said):
        found(*change(on_cpu()))


def test_trace_with_only_iteration_marks_is_refused():
    with pytest.raises(TraceError, match="no operator and no kernel"):
        found(mark(0, 100), anatomy=[])


def on_gpu(start=0.0):
    """100 µs on the host; kernels of 20, 10 and 30 µs, two of which overlap by 5; sync 15."""
    return [
        mark(start, 100),
        event("aten::conv2d", start + 2, 10, **{"External id": 11}),
        event("aten::cudnn_convolution", start + 3, 8, **{"External id": 12}),
        event("aten::gelu", start + 14, 4, **{"External id": 13}),
        kernel("implicit_gemm", start + 10, 20, 12, grid=[66, 1, 1]),
        kernel("bias", start + 30, 10, 11, grid=[264, 1, 1]),
        kernel("gelu_kernel", start + 55, 30, 13, grid=[132, 2, 1]),
        kernel("overlapping", start + 50, 10, 13, grid=[132, 1, 1]),
    ]


def test_gpu_rows_are_kernels_by_operator_and_busy_time_is_their_union():
    broken = found(*on_gpu(), anatomy=[CONV, GELU], sm_count=132)
    waterfall = broken.waterfall
    assert waterfall.busy_s == pytest.approx(65e-6)  # 10 to 40 and 50 to 85
    assert waterfall.sync_s == pytest.approx(15e-6)
    assert waterfall.gaps_s == pytest.approx(20e-6)
    rows = {row.operator: row for row in broken.rows}
    assert set(rows) == {"conv2d", "gelu"}
    assert rows["conv2d"].time_s == pytest.approx(30e-6 * 65 / 70)
    assert sum(row.time_s for row in broken.rows) == pytest.approx(waterfall.busy_s)
    assert (rows["conv2d"].calls, rows["conv2d"].macs, rows["gelu"].bytes) == (1, 1000, 80)


def test_busy_sm_fill_and_occupancy_are_separate():
    timed = samples(plain=(80e-6,), profiled=(100e-6,))
    used = found(*on_gpu(), anatomy=[CONV, GELU], timed=timed, sm_count=132).utilisation
    assert used.busy == pytest.approx(0.65)
    assert used.busy_corrected == pytest.approx(65 / 80)
    assert used.sm_fill == pytest.approx((20 * 0.5 + 10 + 30 + 10) / 70)
    assert used.occupancy is None


def test_slower_launches_that_the_gpu_does_not_wait_for_add_no_gap():
    broken = found(*on_gpu(), anatomy=[CONV, GELU], event_s=100e-6)
    assert broken.waterfall.gaps_s == 0
    terms = broken.waterfall
    assert terms.busy_s + terms.sync_s + terms.residual_s == pytest.approx(terms.plain_s)


def test_a_slow_host_iteration_does_not_scale_kernel_times():
    calm = [mark(0, 100), kernel("k", 10, 50)]
    hiccup = [mark(1000, 1000), kernel("k", 1010, 50)]
    timed = samples(plain=(100e-6, 100e-6, 100e-6), profiled=(100e-6, 100e-6, 1000e-6))
    broken = found(*calm, *hiccup, anatomy=[], timed=timed)
    assert broken.waterfall.busy_s == pytest.approx(50e-6)
    assert broken.utilisation.busy_corrected == pytest.approx(0.5)


@pytest.mark.parametrize("id_of_kernel", [None, 77, 13], ids=["none", "unknown", "another's"])
def test_kernels_with_a_foreign_id_are_found_by_the_launch_of_their_correlation(id_of_kernel):
    broken = found(
        mark(0, 100),
        event("aten::conv2d", 2, 10, **{"External id": 11}),
        event("aten::cudnn_convolution", 3, 8, **{"External id": 12}),
        launch(5, correlation=900),
        event("aten::gelu", 14, 4, **{"External id": 13}),
        launch(15, correlation=901),
        launch(15, correlation=900, tid=2),  # another thread's
        kernel("implicit_gemm", 10, 20, id_of_kernel, correlation=900),
        kernel("gelu_kernel", 55, 30, id_of_kernel, correlation=901),
        anatomy=[CONV, GELU],
    )
    assert {row.operator: row.time_s for row in broken.rows} == {
        "conv2d": pytest.approx(20e-6),
        "gelu": pytest.approx(30e-6),
    }


def test_a_launch_between_two_operators_belongs_to_none():
    broken = found(
        mark(0, 100),
        event("aten::conv2d", 2, 10),
        launch(13, correlation=900),
        event("aten::gelu", 14, 4),
        kernel("copy", 20, 5, correlation=900),
        anatomy=[CONV, GELU],
    )
    assert [row.module for row in broken.rows] == [""]


def test_operators_of_other_packages_keep_their_namespace():
    custom = Operator("deform_conv2d", "", "other", None, 0, "torchvision")
    broken = found(mark(0, 10), event("torchvision::deform_conv2d", 1, 5), anatomy=[custom])
    assert broken.rows[0].operator == "deform_conv2d"


def test_kernels_of_a_graph_have_no_operator_and_no_module():
    broken = found(
        mark(0, 100),
        kernel("void at::native::layer_norm_kernel", 10, 20),
        kernel("sm90_xmma_fprop_implicit_gemm", 40, 50),
        anatomy=[],
    )
    assert [(row.module, row.category) for row in broken.rows] == [
        ("", "layer norm"),
        ("", "unattributed"),
    ]


def test_iterations_with_different_numbers_of_kernels_are_refused():
    events = [*on_gpu(), *on_gpu(1000)[:-1]]
    with pytest.raises(TraceError, match=r"iteration 2 has 3 kernels, the first 4.*dropped"):
        found(*events, anatomy=[CONV, GELU])


@pytest.mark.parametrize(
    ("name", "category"),
    [
        (
            "void at::native::(anonymous)::conv_depthwise2d_forward_kernel",
            "depthwise or group conv",
        ),
        ("vectorized_layer_norm_kernel", "layer norm"),
        ("at::native::CUDAFunctor_add<float>", "addition"),
        ("pytorch_flash::flash_fwd_kernel", "attention"),
        ("nchwToNhwcKernel", "dimension transform"),
        ("Memcpy DtoD (Device -> Device)", "dimension transform"),
        ("triton_poi_fused_gelu_3", "activation"),
        ("triton_poi_fused_add_gelu_3", "unattributed"),
        ("triton_poi_fused_add_mul_5", "unattributed"),
        ("triton_poi_fused_add_5", "addition"),
        ("graph_0_cpp_fused_gelu_7", "activation"),
        ("void at::native::GeluCUDAKernelImpl", "activation"),
        ("CatArrayBatchedCopy", "dimension transform"),
        ("fmha_cutlassF_f32_aligned_64x64_rf_sm80", "attention"),
        ("sm80_xmma_gemm_f32f32", "unattributed"),
        ("cutlass_80_tensorop", "unattributed"),
        ("some_kernel", "unattributed"),
    ],
)
def test_kernel_category_is_unattributed_if_its_name_is_ambiguous(name, category):
    assert kernel_category(name) == category
