import pytest
from support.records import ENVIRONMENT, failure, measurement

from bench.analysis import rows
from bench.analysis.gpu_metrics import gpu_metrics
from bench.records import Case, Telemetry
from bench.report.tables import results

CASE = Case("resnet50", "plain", "cudagraph", "tf32", batch=4, device="cuda")
SEEN = Telemetry(
    seconds=10.0,
    iterations=500,
    utilisation=[0.5, 0.7],
    power_w=[300.0, 320.0],
    energy_j=3100.0,
)


def on_a_gpu(number=1, **changes):
    gpu = {"device_samples_s": [0.009, 0.010, 0.011], "block_pipelined_s": [0.008]}
    return measurement(CASE, number, **{**gpu, **changes})


def test_gpu_metrics_are_derived_from_records():
    found = gpu_metrics([on_a_gpu(telemetry=SEEN), on_a_gpu(2)])
    assert found.device_s == 0.010
    assert found.pipelined_img_s == pytest.approx(4 / 0.008)
    assert found.utilisation == pytest.approx(0.6)
    assert found.power_w == 310.0
    assert found.energy_per_image_j == pytest.approx(3100 / (500 * 4))


def test_gpu_metrics_without_samples_are_none():
    assert set(gpu_metrics([measurement(CASE)])) == {None}
    assert set(gpu_metrics([])) == {None}


def test_report_has_gpu_columns_only_if_a_row_has_values():
    with_, without = (
        results.to_markdown(rows.of([ENVIRONMENT, record]))
        for record in (on_a_gpu(telemetry=SEEN), measurement(CASE))
    )
    for heading in ("Device time (ms)", "Pipelined (img/s)", "GPU busy (%)", "Energy (mJ/img)"):
        assert heading in with_
        assert heading not in without
    assert "1550" in with_  # 1.55 J an image


def test_a_failed_case_has_no_gpu_metrics():
    (row,) = rows.of([ENVIRONMENT, on_a_gpu(telemetry=SEEN), failure(CASE)])
    assert set(row.gpu) == {None}
